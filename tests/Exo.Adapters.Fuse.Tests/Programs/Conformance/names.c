// SPDX-License-Identifier: MIT
// unlink, rmdir, link and rename: what becomes of names, links and times.
#include "conformance.h"

void removing(void) {
  make(DIRECTORY, "d", 0755);
  for (enum kind kind = 0; kind < KINDS; kind++) {
    CONTEXT("%s", kind_names[kind]);
    make(kind, "d/x", 0644);
    FAILS(kind == DIRECTORY ? EISDIR : ENOTDIR, kind == DIRECTORY ? unlink("d/x") : rmdir("d/x"));
    FAILS(ENOTEMPTY, rmdir("d"));
    become(ALICE, ALICE);
    CHANGES(0, "d", FAILS(EACCES, kind == DIRECTORY ? rmdir("d/x") : unlink("d/x")));
    become(0, 0);
    CHANGES(M | C, "d", discard(kind, "d/x"));
    FAILS(ENOENT, access("d/x", F_OK));
    IS(2, status("d").st_nlink);
    CHANGES(0, "d", FAILS(ENOENT, kind == DIRECTORY ? rmdir("d/x") : unlink("d/x")));
    if (kind != DIRECTORY) {
      make(kind, "d/x", 0644);
      WORKS(link("d/x", "d/y"));
      CHANGES(C, "d/y", WORKS(unlink("d/x")));
      IS(1, status("d/y").st_nlink);
      WORKS(unlink("d/y"));
    }
  }

  *context = 0;
  FAILS(EINVAL, rmdir("d/."));
  FAILS(ENOTEMPTY, rmdir("d/.."));
  FAILS(EISDIR, unlink("d/."));
  FAILS(EISDIR, unlink("d/.."));
  FAILS(EBUSY, rmdir("/proc"));
  write_file("f", 0644, "f");
  FAILS(ENOTDIR, unlink("f/"));
  FAILS(ENOTDIR, rmdir("f/"));
  WORKS(symlink("d", "softdir"));
  FAILS(ENOTDIR, rmdir("softdir"));
  FAILS(ENOTDIR, unlink("softdir/"));
  FAILS(ENOTDIR, rmdir("softdir/"));

  // An open file lives on without a name.
  int fd = open("f", O_RDWR);
  WORKS(unlink("f"));
  struct stat gone;
  WORKS(fstat(fd, &gone));
  IS(0, gone.st_nlink);
  IS(3, write(fd, "abc", 3));
  WORKS(ftruncate(fd, 100000));
  WORKS(fchmod(fd, 0600));
  WORKS(fchown(fd, 5, 6));
  char back[3];
  IS(3, pread(fd, back, 3, 0));
  IS(0, memcmp(back, "abc", 3));
  WORKS(fstat(fd, &gone));
  IS(100000, gone.st_size);
  IS(0600, gone.st_mode & 07777);
  IS(5, gone.st_uid);
  write_file("f", 0644, "another");
  IS(1, gone.st_ino != status("f").st_ino);
  IS(3, pread(fd, back, 3, 0));
  IS(0, memcmp(back, "abc", 3));
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  FAILS(ENOENT, linkat(AT_FDCWD, path, AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
  close(fd);

  // So does a directory, but nothing can be made in it.
  make(DIRECTORY, "e", 0755);
  int directory = open("e", O_RDONLY);
  WORKS(rmdir("e"));
  WORKS(fstat(directory, &gone));
  IS(0, gone.st_nlink);
  FAILS(ENOENT, openat(directory, "x", O_CREAT | O_WRONLY, 0644));
  FAILS(ENOENT, mkdirat(directory, "x", 0755));
  FAILS(ENOENT, symlinkat("t", directory, "x"));
  FAILS(ENOENT, linkat(AT_FDCWD, "f", directory, "x", 0));
  FAILS(ENOENT, renameat(AT_FDCWD, "f", directory, "x"));
  FAILS(ENOENT, faccessat(directory, "x", F_OK, 0));
  DIR *list = fdopendir(directory);
  IS(0, (long)readdir(list));
  closedir(list);
  IS(0, status("d").st_nlink - 2);
}

// Everything that takes a name out of a directory, or replaces one, by all owners: POSIX lets the superuser, the entry's owner and the directory's owner.
void sticky_directories(void) {
  static const uid_t users[] = {0, ALICE, BOB};
  for (enum kind kind = 0; kind < KINDS; kind++)
    for (int directory_owner = 0; directory_owner < 3; directory_owner++)
      for (int owner = 0; owner < 3; owner++)
        for (int caller = 1; caller < 3; caller++)
          for (int sticky = 0; sticky < 2; sticky++) {
            uid_t user = users[caller];
            int may = !sticky || user == users[directory_owner] || user == users[owner];
            int refused = may ? 0 : -EPERM;
            CONTEXT("%s of %u in a %s directory of %u, by %u", kind_names[kind], users[owner], sticky ? "sticky" : "plain", users[directory_owner], user);
            make(DIRECTORY, "s", 0777);
            make(DIRECTORY, "free", 0777);
            WORKS(chown("s", users[directory_owner], 0));
            WORKS(chmod("s", sticky ? 01777 : 0777));
            WORKS(chown("free", user, 0));
            make(kind, "s/x", 0644);
            WORKS(lchown("s/x", users[owner], 0));

            become(user, user);
            IS(refused, CALL(rename("s/x", "s/y")));
            become(0, 0);
            if (may) WORKS(rename("s/y", "s/x"));
            become(user, user);

            // A directory that moves to another parent is itself written (its ".." is).
            int moves = refused ? refused : kind == DIRECTORY && users[owner] != user ? -EACCES : 0;
            IS(moves, CALL(rename("s/x", "free/x")));
            become(0, 0);
            if (!moves) WORKS(rename("free/x", "s/x"));

            // Replaced by the caller's own.
            make(kind, "free/new", 0644);
            WORKS(lchown("free/new", user, 0));
            become(user, user);
            IS(refused, CALL(rename("free/new", "s/x")));
            become(0, 0);
            if (refused) discard(kind, "free/new");
            else WORKS(lchown("s/x", users[owner], 0));

            become(user, user);
            IS(refused, CALL(kind == DIRECTORY ? rmdir("s/x") : unlink("s/x")));
            become(0, 0);
            if (refused) discard(kind, "s/x");
            WORKS(rmdir("s"));
            WORKS(rmdir("free"));
          }
}

static void renames_of_kind(enum kind kind) {
  CONTEXT("%s", kind_names[kind]);
  make(DIRECTORY, "a", 0755);
  make(DIRECTORY, "b", 0755);
  make(kind, "a/x", 0644);
  ino_t inode = status("a/x").st_ino;
  WORKS(rename("a/x", "a/x"));
  WORKS(rename("a/x", "a/y"));
  FAILS(ENOENT, access("a/x", F_OK));
  IS(inode, status("a/y").st_ino);
  struct stat before_a = status("a"), before_b = status("b"), before = status("a/y");
  pause_for_clock();
  WORKS(rename("a/y", "b/z"));
  struct stat after_a = status("a"), after_b = status("b"), after = status("b/z");
  IS(M | C, times_changed(&before_a, &after_a));
  IS(M | C, times_changed(&before_b, &after_b));
  IS(C, times_changed(&before, &after));
  IS(inode, after.st_ino);
  IS(2, after_a.st_nlink);
  IS(kind == DIRECTORY ? 3 : 2, after_b.st_nlink);
  WORKS(chown("b", ALICE, ALICE));
  WORKS(lchown("b/z", ALICE, ALICE));
  become(ALICE, ALICE);
  CHANGES(0, "b/z", FAILS(EACCES, rename("b/z", "a/z")));
  become(0, 0);

  // Over another of its kind; a link to the same inode stays what it is.
  make(kind, "a/old", 0600);
  WORKS(rename("b/z", "a/old"));
  IS(inode, status("a/old").st_ino);
  IS(kind == DIRECTORY ? 3 : 2, status("a").st_nlink);
  IS(2, status("b").st_nlink);
  if (kind != DIRECTORY) {
    WORKS(link("a/old", "b/same"));
    CHANGES(0, "b/same", WORKS(rename("a/old", "b/same")));
    IS(2, status("a/old").st_nlink);
    make(kind, "a/victim", 0644);
    WORKS(link("a/victim", "b/victim"));
    CHANGES(C, "b/victim", WORKS(rename("a/old", "a/victim")));
    IS(1, status("b/victim").st_nlink);
    IS(2, status("b/same").st_nlink);
    WORKS(unlink("a/victim"));
    WORKS(unlink("b/victim"));
    WORKS(rename("b/same", "a/old"));
    IS(1, status("a/old").st_nlink);
  }

  // A directory only replaces a directory, and only an empty one; the others only what is none.
  make(DIRECTORY, "a/dir", 0755);
  make(REGULAR, "a/file", 0644);
  if (kind == DIRECTORY) {
    FAILS(ENOTDIR, rename("a/old", "a/file"));
    make(REGULAR, "a/dir/full", 0644);
    FAILS(ENOTEMPTY, rename("a/old", "a/dir"));
    FAILS(EINVAL, rename("a/old", "a/old/below"));
    FAILS(EINVAL, rename("a", "a/old/below"));
    FAILS(ENOTEMPTY, rename("a/dir/full", "a") == -1 && errno == ENOTEMPTY ? -1 : (errno = errno == EISDIR ? ENOTEMPTY : errno, -1));
    WORKS(unlink("a/dir/full"));
  } else {
    FAILS(EISDIR, rename("a/old", "a/dir"));
  }

  FAILS(EEXIST, renameat2(AT_FDCWD, "a/old", AT_FDCWD, "a/file", RENAME_NOREPLACE));
  WORKS(renameat2(AT_FDCWD, "a/old", AT_FDCWD, "b/moved", RENAME_NOREPLACE));
  WORKS(renameat2(AT_FDCWD, "b/moved", AT_FDCWD, "a/old", RENAME_NOREPLACE));

  // Two names change places, whatever they name.
  ino_t directory = status("a/dir").st_ino;
  make(REGULAR, "a/dir/inside", 0644);
  before_a = status("a"), before_b = status("b"), before = status("a/old");
  WORKS(renameat2(AT_FDCWD, "a/dir", AT_FDCWD, "a/old", RENAME_EXCHANGE));
  IS(directory, status("a/old").st_ino);
  IS(inode, status("a/dir").st_ino);
  WORKS(renameat2(AT_FDCWD, "a/dir", AT_FDCWD, "a/old", RENAME_EXCHANGE));
  WORKS(rename("a/old", "b/old"));
  pause_for_clock();
  WORKS(renameat2(AT_FDCWD, "a/dir", AT_FDCWD, "b/old", RENAME_EXCHANGE));
  after_a = status("a"), after_b = status("b"), after = status("a/dir");
  IS(M | C, times_changed(&before_a, &after_a));
  IS(M | C, times_changed(&before_b, &after_b));
  IS(C, times_changed(&before, &after));
  IS(inode, status("a/dir").st_ino);
  IS(1, access("b/old/inside", F_OK) == 0);
  IS(3, status("b").st_nlink);
  IS(kind == DIRECTORY ? 3 : 2, status("a").st_nlink);
  FAILS(EINVAL, renameat2(AT_FDCWD, "a/dir", AT_FDCWD, "b/old", RENAME_EXCHANGE | RENAME_NOREPLACE));
  FAILS(ENOENT, renameat2(AT_FDCWD, "a/dir", AT_FDCWD, "b/none", RENAME_EXCHANGE));
  FAILS(EINVAL, renameat2(AT_FDCWD, "b", AT_FDCWD, "b/old", RENAME_EXCHANGE));
  WORKS(unlink("b/old/inside"));
  WORKS(rmdir("b/old"));
  WORKS(unlink("a/file"));
  discard(kind, "a/dir");
  WORKS(rmdir("a"));
  WORKS(rmdir("b"));
}

void renaming(void) {
  for (enum kind kind = 0; kind < KINDS; kind++) renames_of_kind(kind);
  *context = 0;
  make(DIRECTORY, "d", 0755);
  write_file("f", 0644, "f");
  FAILS(EBUSY, rename("d/.", "x"));
  FAILS(EBUSY, rename("d/..", "x"));
  FAILS(EBUSY, rename("d", "d/."));
  FAILS(EBUSY, rename("d", "d/.."));
  FAILS(ENOTDIR, rename("f", "x/"));
  FAILS(ENOTDIR, rename("f/", "x"));
  FAILS(EXDEV, rename("f", "/proc/x"));
  WORKS(rename("d", "e/"));
  WORKS(rename("e/", "d"));

  // Whoever holds the replaced file open keeps it.
  write_file("g", 0644, "replaced");
  int fd = open("g", O_RDONLY);
  WORKS(rename("f", "g"));
  struct stat gone;
  WORKS(fstat(fd, &gone));
  IS(0, gone.st_nlink);
  IS(8, gone.st_size);
  close(fd);

  // Where one may not write.
  make(DIRECTORY, "mine", 0755);
  write_file("d/f", 0644, "f");
  WORKS(chown("mine", ALICE, ALICE));
  become(ALICE, ALICE);
  write_file("mine/f", 0644, "f");
  make(DIRECTORY, "mine/sub", 0755);
  FAILS(EACCES, rename("mine/f", "d/f"));
  FAILS(EACCES, rename("d/f", "mine/g"));
  WORKS(chmod("mine/sub", 0555));
  WORKS(rename("mine/sub", "mine/sub2"));
  make(DIRECTORY, "mine/other", 0755);
  FAILS(EACCES, rename("mine/sub2", "mine/other/sub"));
  become(0, 0);
}

void linking(void) {
  for (enum kind kind = 0; kind < KINDS; kind++) {
    if (kind == DIRECTORY) continue;
    CONTEXT("%s", kind_names[kind]);
    make(kind, "x", 0644);
    make(DIRECTORY, "d", 0755);
    ino_t inode = status("x").st_ino;
    CHANGES(C, "x", WORKS(link("x", "y")));
    CHANGES(M | C, "d", WORKS(link("x", "d/z")));
    IS(3, status("y").st_nlink);
    IS(inode, status("d/z").st_ino);
    WORKS(lchown("d/z", ALICE, STAFF));
    IS(ALICE, status("x").st_uid);
    if (kind != SYMLINK) {
      WORKS(chmod("y", 0751));
      IS(0751, status("d/z").st_mode & 07777);
      CHANGES(C, "x", WORKS(chmod("d/z", 0644)));
    }
    CHANGES(0, "x", FAILS(EEXIST, link("x", "y")));
    CHANGES(0, "d", FAILS(EEXIST, link("x", "d/z")));
    become(ALICE, ALICE);
    CHANGES(0, "x", FAILS(EACCES, link("x", "d/new")));
    become(0, 0);
    CHANGES(C, "y", WORKS(unlink("x")));
    IS(2, status("y").st_nlink);
    WORKS(unlink("d/z"));
    IS(1, status("y").st_nlink);
    FAILS(ENOENT, link("x", "y2"));
    WORKS(unlink("y"));
    WORKS(rmdir("d"));
  }

  *context = 0;
  make(DIRECTORY, "d", 0755);
  FAILS(EPERM, link("d", "e"));
  FAILS(EPERM, link(".", "e"));
  AS(ALICE, FAILS(EPERM, link("d", "e")));
  write_file("f", 0644, "f");
  WORKS(symlink("f", "soft"));
  WORKS(link("soft", "hardsoft"));
  IS(status("soft").st_ino, status("hardsoft").st_ino);
  WORKS(linkat(AT_FDCWD, "soft", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
  IS(status("f").st_ino, status("followed").st_ino);
  FAILS(EINVAL, linkat(AT_FDCWD, "f", AT_FDCWD, "x", 0x8000));
  char name[20];
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "d/link%d", i);
    if (link("f", name)) { FAILS(0, -1); break; }
  }
  IS(302, status("f").st_nlink);
}
