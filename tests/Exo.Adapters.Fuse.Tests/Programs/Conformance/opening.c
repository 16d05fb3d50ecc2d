// SPDX-License-Identifier: MIT
// open and the calls that make an inode: flags, permissions by class, what the new inode is and what its directory's times do.
#include "conformance.h"

static void permissions_by_class(enum kind kind) {
  // Owner ALICE, group STAFF. The class decides alone: the owner is not helped by the bits of the others.
  static const struct { uid_t user; gid_t group; int shift; const char *name; } classes[] = {{ALICE, CLUB, 6, "owner"}, {BOB, STAFF, 3, "member"}, {BOB, CLUB, 0, "other"}};
  static const struct { int flags, need; } ways[] = {{O_RDONLY, 4}, {O_WRONLY, 2}, {O_RDWR, 6}};
  make(kind, "f", 0);
  WORKS(chown("f", ALICE, STAFF));
  for (int c = 0; c < 3; c++)
    for (int mode = 0; mode < 8; mode++)
      for (int inverse = 0; inverse < 2; inverse++) {
        mode_t bits = (mode << classes[c].shift) | (inverse ? 0777 & ~(7 << classes[c].shift) : 0);
        WORKS(chmod("f", bits));
        become(classes[c].user, classes[c].group);
        for (int w = 0; w < 3; w++) {
          if (kind == DIRECTORY && ways[w].flags != O_RDONLY) continue;
          if (kind == FIFO && ways[w].flags == O_WRONLY) continue;
          CONTEXT("%s, %s, mode %o, flags %d", kind_names[kind], classes[c].name, bits, ways[w].flags);
          IS((mode & ways[w].need) == ways[w].need ? 0 : -EACCES, CALL(open_close("f", ways[w].flags | O_NONBLOCK, 0)));
        }
        CONTEXT("%s, %s, mode %o", kind_names[kind], classes[c].name, bits);
        for (int way = 1; way < 8; way++) IS((mode & way) == way ? 0 : -EACCES, CALL(faccessat(AT_FDCWD, "f", way, AT_EACCESS)));
        if (kind == REGULAR) IS(mode & 2 ? 0 : -EACCES, CALL(truncate("f", 0)));
        if (kind == REGULAR) IS((mode & 6) == 6 ? 0 : -EACCES, CALL(open_close("f", O_RDWR | O_TRUNC, 0)));
        become(0, 0);
      }
  discard(kind, "f");
}

static int run_copy_of_self(const char *to, int ready[2]) {
  int child = fork();
  if (child == 0) { dup2(ready[1], 1); char *a[] = {"cat", 0}; execv(to, a); _exit(9); }
  return child;
}

static void busy_text(void) {
  // A program that runs: cat, which waits for its standard input.
  int in = open("/bin/cat", O_RDONLY), out = open("cat", O_CREAT | O_WRONLY, 0755), input[2], output[2];
  char buffer[65536], byte;
  for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;) IS(n, write(out, buffer, n));
  close(in);
  close(out);
  IS(0, pipe2(input, O_CLOEXEC) | pipe2(output, O_CLOEXEC));
  int saved = dup(0);
  dup2(input[0], 0);
  int child = run_copy_of_self("cat", output);
  dup2(saved, 0);
  IS(1, write(input[1], "x", 1));
  IS(1, read(output[0], &byte, 1));
  FAILS(ETXTBSY, open_close("cat", O_WRONLY, 0));
  FAILS(ETXTBSY, open_close("cat", O_RDWR, 0));
  FAILS(ETXTBSY, open_close("cat", O_RDONLY | O_TRUNC, 0));
  FAILS(ETXTBSY, truncate("cat", 10));
  WORKS(open_close("cat", O_RDONLY, 0));
  close(input[1]);
  close(input[0]);
  int how;
  waitpid(child, &how, 0);
  IS(0, how);
  close(output[0]);
  close(output[1]);
  close(saved);
  int writer = open("cat", O_WRONLY);
  FAILS(ETXTBSY, ({ char *a[] = {"cat", 0}; execv("cat", a); }));
  close(writer);
  WORKS(unlink("cat"));
}

void opening(void) {
  permissions_by_class(REGULAR);
  permissions_by_class(DIRECTORY);
  permissions_by_class(FIFO);
  *context = 0;

  make(DIRECTORY, "d", 0755);
  write_file("f", 0644, "text");
  FAILS(EISDIR, open_close("d", O_WRONLY, 0));
  FAILS(EISDIR, open_close("d", O_RDWR, 0));
  FAILS(EISDIR, open_close("d", O_RDONLY | O_TRUNC, 0));
  FAILS(EISDIR, open_close("d", O_WRONLY | O_TRUNC, 0));
  FAILS(EISDIR, open_close("d", O_RDONLY | O_CREAT, 0));
  FAILS(EISDIR, open_close("d/", O_RDONLY | O_CREAT, 0));
  FAILS(EISDIR, open_close("new/", O_RDWR | O_CREAT, 0));
  FAILS(EEXIST, open_close("d", O_RDONLY | O_CREAT | O_EXCL, 0));
  FAILS(ENOTDIR, open_close("f", O_RDONLY | O_DIRECTORY, 0));
  FAILS(ENOTDIR, open_close("f/", O_RDONLY, 0));
  FAILS(ENOENT, open_close("none", O_RDONLY | O_DIRECTORY, 0));
  WORKS(open_close("d", O_RDONLY | O_DIRECTORY, 0));
  WORKS(symlink("f", "soft"));
  WORKS(symlink("none", "dangling"));
  WORKS(symlink("d", "softdir"));
  FAILS(ELOOP, open_close("soft", O_RDONLY | O_NOFOLLOW, 0));
  FAILS(ELOOP, open_close("soft", O_RDONLY | O_NOFOLLOW | O_CREAT, 0));
  FAILS(ELOOP, open_close("dangling", O_WRONLY | O_NOFOLLOW | O_CREAT, 0));
  FAILS(ENOTDIR, open_close("softdir", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0));
  WORKS(open_close("soft", O_PATH | O_NOFOLLOW, 0));
  FAILS(EEXIST, open_close("dangling", O_WRONLY | O_EXCL | O_CREAT, 0));
  WORKS(open_close("dangling", O_WRONLY | O_CREAT, 0640));
  IS(S_IFREG | 0640, status("none").st_mode);
  for (enum kind kind = 0; kind < KINDS; kind++) {
    CONTEXT("%s", kind_names[kind]);
    make(kind, "e", 0644);
    FAILS(EEXIST, open_close("e", O_RDONLY | O_CREAT | O_EXCL, 0));
    FAILS(EEXIST, open_close("e", O_WRONLY | O_CREAT | O_EXCL | O_TRUNC, 0));
    discard(kind, "e");
  }

  *context = 0;
  make(FIFO, "p", 0644);
  FAILS(ENXIO, open_close("p", O_WRONLY | O_NONBLOCK, 0));
  WORKS(open_close("p", O_RDONLY | O_NONBLOCK, 0));
  WORKS(open_close("p", O_RDWR | O_NONBLOCK, 0));
  make(SOCKET, "s", 0644);
  FAILS(ENXIO, open_close("s", O_RDONLY, 0));
  FAILS(ENXIO, open_close("s", O_RDWR, 0));
  WORKS(mknod("nodevice", S_IFCHR | 0644, makedev(4095, 77)));
  FAILS(ENXIO, open_close("nodevice", O_RDONLY, 0));
  WORKS(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
  WORKS(open_close("null", O_RDWR, 0));

  // The mode counts for later opens, not for the one that makes the file.
  WORKS(chmod(".", 0777));
  become(ALICE, ALICE);
  int fd = open("closed", O_CREAT | O_RDWR, 0);
  IS(4, write(fd, "text", 4));
  WORKS(ftruncate(fd, 2));
  IS(0, -posix_fallocate(fd, 0, 1));
  close(fd);
  FAILS(EACCES, open_close("closed", O_RDONLY, 0));
  FAILS(EACCES, open_close("closed", O_WRONLY | O_CREAT, 0777));
  WORKS(unlink("closed"));
  become(0, 0);

  // O_APPEND writes at the end, wherever the descriptor stands; O_TRUNC empties only what may be written.
  fd = open("f", O_RDWR | O_APPEND);
  IS(0, lseek(fd, 0, SEEK_SET));
  IS(4, write(fd, "more", 4));
  IS(8, lseek(fd, 0, SEEK_CUR));
  IS(2, pwrite(fd, "pp", 2, 0));
  IS(10, status("f").st_size);
  close(fd);
  FAILS(EBADF, ({ int r = open("f", O_RDONLY), n = write(r, "x", 1), e = errno; close(r); errno = e; n; }));
  FAILS(EBADF, ({ char b; int w = open("f", O_WRONLY), n = read(w, &b, 1), e = errno; close(w); errno = e; n; }));
  FAILS(EISDIR, ({ char b; int r = open("d", O_RDONLY), n = read(r, &b, 1), e = errno; close(r); errno = e; n; }));
  WORKS(open_close("f", O_WRONLY | O_CREAT | O_TRUNC, 0600));
  IS(0, status("f").st_size);
  IS(0644, status("f").st_mode & 07777);
  busy_text();

  // O_TMPFILE: no name, no link, and a name when linkat gives it one, unless O_EXCL forbids.
  fd = open(".", O_TMPFILE | O_RDWR, 0640);
  IS(1, fd >= 0);
  struct stat unnamed;
  WORKS(fstat(fd, &unnamed));
  IS(0, unnamed.st_nlink);
  IS(S_IFREG | 0640, unnamed.st_mode);
  IS(5, write(fd, "hello", 5));
  char link_path[64];
  snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
  WORKS(linkat(AT_FDCWD, link_path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  IS(1, status("named").st_nlink);
  IS(5, status("named").st_size);
  IS(unnamed.st_ino, status("named").st_ino);
  close(fd);
  fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0640);
  snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
  FAILS(ENOENT, linkat(AT_FDCWD, link_path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
  close(fd);
  FAILS(ENOTDIR, open_close("f", O_TMPFILE | O_RDWR, 0600));
  FAILS(EINVAL, open_close(".", O_TMPFILE | O_RDONLY, 0600));
  AS(BOB, FAILS(EACCES, open_close("d", O_TMPFILE | O_RDWR, 0600)));
}

static void create_in(enum kind kind, mode_t mode, mode_t mask) {
  CONTEXT("%s, mode %o, mask %o", kind_names[kind], mode, mask);
  umask(mask);
  make(kind, "x", mode);
  umask(0);
}

void creating(void) {
  static const mode_t types[KINDS] = {S_IFREG, S_IFDIR, S_IFIFO, S_IFBLK, S_IFCHR, S_IFSOCK, S_IFLNK};
  for (enum kind kind = 0; kind < KINDS; kind++) {
    struct stat made;
    create_in(kind, 0755, 0);
    made = status("x");
    IS(types[kind] | (kind == SYMLINK ? 0777 : 0755), made.st_mode);
    IS(kind == DIRECTORY ? 2 : 1, made.st_nlink);
    IS(kind == BLOCK || kind == CHARACTER ? makedev(1, 2) : 0, made.st_rdev);
    IS(kind == SYMLINK ? 4 : kind == DIRECTORY ? made.st_size : 0, made.st_size);
    discard(kind, "x");
    if (kind != SYMLINK && kind != SOCKET) {
      create_in(kind, 0151, 0077);
      IS(types[kind] | 0100, status("x").st_mode);
      discard(kind, "x");
      create_in(kind, 0345, 0501);
      IS(types[kind] | 0244, status("x").st_mode);
      discard(kind, "x");
      create_in(kind, 0777, 0777);
      IS(types[kind], status("x").st_mode);
      discard(kind, "x");
    }

    // The owner is the effective user; the group the effective one, or the directory's where that has its set-group bit.
    CONTEXT("%s", kind_names[kind]);
    make(DIRECTORY, "d", 0777);
    WORKS(chown("d", ALICE, CLUB));
    for (int inherits = 0; inherits < 2; inherits++) {
      WORKS(chmod("d", inherits ? 02777 : 0777));
      if (kind != BLOCK && kind != CHARACTER) {
        become(BOB, STAFF);
        make(kind, "d/x", 0644);
        become(0, 0);
        made = status("d/x");
        IS(BOB, made.st_uid);
        IS(inherits ? CLUB : STAFF, made.st_gid);
        IS(inherits && kind == DIRECTORY ? S_ISGID : 0, made.st_mode & S_ISGID);
        discard(kind, "d/x");
      } else {
        AS(BOB, FAILS(EPERM, mknod("d/x", types[kind] | 0644, makedev(1, 2))));
      }
    }

    // Times: the new inode's are all now, and the directory's modification and change times go on.
    struct stat before = status("d");
    pause_for_clock();
    make(kind, "d/x", 0644);
    struct stat after = status("d");
    made = status("d/x");
    IS(M | C, times_changed(&before, &after));
    IS(1, made.st_atim.tv_sec > before.st_ctim.tv_sec || made.st_atim.tv_nsec > before.st_ctim.tv_nsec);
    IS(1, made.st_mtim.tv_sec > before.st_ctim.tv_sec || made.st_mtim.tv_nsec > before.st_ctim.tv_nsec);
    IS(1, made.st_ctim.tv_sec > before.st_ctim.tv_sec || made.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
    IS(kind == DIRECTORY ? 3 : 2, after.st_nlink);
    CHANGES(0, "d", FAILS(EEXIST, mkdir("d/x", 0755)));
    discard(kind, "d/x");
    WORKS(chmod("d", 0755));
    become(BOB, BOB);
    CHANGES(0, "d", FAILS(EACCES, mkdir("d/x", 0755)));
    become(0, 0);
    WORKS(rmdir("d"));
  }

  // Set-id bits and the sticky bit of a new inode; a set-group bit for a group that one is not in is not given.
  WORKS(chmod(".", 0777));
  CONTEXT("bits");
  IS(0, open_close("bits", O_CREAT | O_WRONLY, 06777));
  IS(06777, status("bits").st_mode & 07777);
  WORKS(unlink("bits"));
  make(DIRECTORY, "bits", 01777);
  IS(01777, status("bits").st_mode & 07777);
  WORKS(chown("bits", 0, CLUB));
  WORKS(chmod("bits", 02777));
  become(BOB, STAFF);
  IS(0, open_close("bits/f", O_CREAT | O_WRONLY, 02775));
  IS(0775, status("bits/f").st_mode & 07777);
  become(0, 0);
  WORKS(unlink("bits/f"));

  // A target of up to 4095 bytes, kept byte for byte; none may be empty.
  static char target[4097], back[4200];
  memset(target, 't', 4096);
  FAILS(ENAMETOOLONG, symlink(target, "long"));
  FAILS(ENOENT, symlink("", "long"));
  for (int length = 1; length < 4096; length = length * 2 + 1) {
    CONTEXT("target of %d bytes", length);
    memset(target, 't', length);
    target[length] = 0;
    WORKS(symlink(target, "long"));
    IS(length, readlink("long", back, sizeof back));
    IS(0, memcmp(target, back, length));
    IS(length, status("long").st_size);
    IS(length > 10 ? 10 : length, readlink("long", back, 10));
    WORKS(unlink("long"));
  }
  FAILS(EINVAL, readlink(".", back, 10) < 0 ? -1 : 0);
  FAILS(EINVAL, mknod("x", S_IFMT & ~S_IFREG, 0));
  FAILS(EPERM, mknod("x", S_IFDIR | 0755, 0));
  AS(ALICE, WORKS(mknod("x", S_IFREG | 0644, 0)));
  WORKS(unlink("x"));
  AS(ALICE, WORKS(mknod("x", 0644, 0)));
  IS(S_IFREG | 0644, status("x").st_mode);
}
