// SPDX-License-Identifier: MIT
// chmod, chown, set-id bits, utimensat.
#include "conformance.h"

void modes(void) {
  for (enum kind kind = 0; kind < SYMLINK; kind++) {
    CONTEXT("%s", kind_names[kind]);
    make(kind, "f", 0644);
    mode_t type = status("f").st_mode & S_IFMT;
    for (int mode = 0; mode < 010000; mode = mode * 3 + 0111) {
      WORKS(chmod("f", mode));
      IS(type | mode, status("f").st_mode);
    }
    WORKS(symlink("f", "soft"));
    WORKS(chmod("soft", 0321));
    IS(0321, status("f").st_mode & 07777);
    IS(0777, status("soft").st_mode & 07777);
    FAILS(EOPNOTSUPP, fchmodat(AT_FDCWD, "soft", 0600, AT_SYMLINK_NOFOLLOW));
    CHANGES(C, "f", WORKS(chmod("f", 0700)));
    CHANGES(C, "f", WORKS(chmod("f", 0700)));
    AS(ALICE, CHANGES(0, "f", FAILS(EPERM, chmod("f", 0644))));
    WORKS(chown("f", ALICE, STAFF));
    become(BOB, STAFF);
    FAILS(EPERM, chmod("f", 0777));
    become(ALICE, STAFF);
    WORKS(chmod("f", 02750));
    IS(02750, status("f").st_mode & 07777);

    // The set-group bit for a group that one is not in is not given. Root gives it.
    become(ALICE, CLUB);
    WORKS(chmod("f", 02755));
    IS(0755, status("f").st_mode & 07777);
    WORKS(chmod("f", 07755));
    IS(05755, status("f").st_mode & 07777);
    become_with(ALICE, CLUB, STAFF);
    WORKS(chmod("f", 02755));
    IS(02755, status("f").st_mode & 07777);
    become(0, 0);
    WORKS(chmod("f", 07777));
    IS(07777, status("f").st_mode & 07777);
    become(ALICE, ALICE);
    WORKS(chmod("f", 01777));
    IS(01777, status("f").st_mode & 07777);
    become(0, 0);
    unlink("soft");
    discard(kind, "f");
  }

  int fd = open("g", O_CREAT | O_RDONLY, 0644);
  WORKS(fchmod(fd, 0600));
  IS(0600, status("g").st_mode & 07777);
  WORKS(unlink("g"));
  WORKS(fchmod(fd, 0640));
  struct stat open_one;
  WORKS(fstat(fd, &open_one));
  IS(0640, open_one.st_mode & 07777);
  IS(0, open_one.st_nlink);
  close(fd);
}

static void owner_is(const char *path, uid_t user, gid_t group) {
  IS(user, status(path).st_uid);
  IS(group, status(path).st_gid);
}

void owners(void) {
  for (enum kind kind = 0; kind < KINDS; kind++) {
    CONTEXT("%s", kind_names[kind]);
    make(kind, "f", 0644);
    WORKS(lchown("f", 123, 456));
    owner_is("f", 123, 456);
    WORKS(lchown("f", -1, 7));
    owner_is("f", 123, 7);
    WORKS(lchown("f", 8, -1));
    owner_is("f", 8, 7);
    WORKS(lchown("f", 0xFFFFFFFE, 0xFFFFFFFE));
    owner_is("f", 0xFFFFFFFE, 0xFFFFFFFE);
    WORKS(lchown("f", ALICE, CLUB));
    if (kind != SYMLINK) {
      WORKS(symlink("f", "soft"));
      WORKS(chown("soft", ALICE, STAFF));
      owner_is("f", ALICE, STAFF);
      owner_is("soft", 0, 0);
      WORKS(unlink("soft"));
    }

    // The owner may give the file to a group that he is in, and to nobody else.
    become_with(ALICE, STAFF, CLUB);
    WORKS(lchown("f", -1, CLUB));
    owner_is("f", ALICE, CLUB);
    WORKS(lchown("f", ALICE, STAFF));
    owner_is("f", ALICE, STAFF);
    FAILS(EPERM, lchown("f", -1, 4711));
    FAILS(EPERM, lchown("f", BOB, -1));
    FAILS(EPERM, lchown("f", BOB, STAFF));
    become_with(BOB, STAFF, CLUB);
    FAILS(EPERM, lchown("f", BOB, STAFF));
    FAILS(EPERM, lchown("f", -1, CLUB));
    FAILS(EPERM, lchown("f", ALICE, -1));
    WORKS(lchown("f", -1, -1));
    become(0, 0);
    owner_is("f", ALICE, STAFF);
    CHANGES(C, "f", WORKS(lchown("f", BOB, CLUB)));
    CHANGES(C, "f", WORKS(lchown("f", BOB, CLUB)));
    become_with(BOB, STAFF, CLUB);
    CHANGES(C, "f", WORKS(lchown("f", BOB, STAFF)));
    CHANGES(0, "f", FAILS(EPERM, lchown("f", ALICE, STAFF)));
    become(ALICE, ALICE);
    CHANGES(0, "f", FAILS(EPERM, lchown("f", ALICE, ALICE)));
    become(0, 0);
    discard(kind, "f");
  }
}

static void copy_file(const char *from, const char *to) {
  FILE *source = fopen(from, "r"), *target = fopen(to, "w");
  for (int c; (c = getc(source)) != EOF;) putc(c, target);
  fclose(source);
  fclose(target);
}

// Through a descriptor from before a program got the set-user bit, somebody who may not write to it any more changes its contents and runs it. Returns the user that it runs as.
static int runs_as(int way) {
  copy_file("/usr/bin/id", "id");
  copy_file("/usr/bin/id", "same");
  int fd = open("id", O_RDWR), same = open("same", O_RDONLY), said[2];
  WORKS(chmod("id", 04755));
  WORKS(pipe(said));
  if (fork() == 0) {
    char head[64];
    if (setresgid(BOB, BOB, BOB) != 0 || setresuid(BOB, BOB, BOB) != 0) _exit(1);
    long done = -1;
    switch (way) {
      case 0: done = pwrite(fd, head, pread(fd, head, sizeof head, 0), 0); break;
      case 1: done = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100); break;
      case 2: done = copy_file_range(same, &(loff_t){0}, fd, &(loff_t){0}, 4096, 0); break;
    }
    close(fd);
    dup2(said[1], 1);

    // Until the other process has closed the file, too.
    do if (done >= 0) execl("id", "id", "-u", NULL); while (errno == ETXTBSY);
    _exit(1);
  }

  close(said[1]);
  close(fd);
  close(same);
  char user[16] = "";
  IS(1, read(said[0], user, sizeof user - 1) > 0);
  close(said[0]);
  wait(NULL);
  IS(0755, status("id").st_mode & 07777);
  WORKS(unlink("id"));
  WORKS(unlink("same"));
  return atoi(user);
}

void set_id_bits(void) {
  for (enum kind kind = 0; kind < SYMLINK; kind++) {
    CONTEXT("%s", kind_names[kind]);
    int kept = kind == DIRECTORY ? 06000 : 0;
    make(kind, "f", 0644);
    for (int root = 0; root < 2; root++) {
      WORKS(chown("f", ALICE, STAFF));
      WORKS(chmod("f", 06555));
      if (root) become(0, 0); else become_with(ALICE, STAFF, CLUB);
      WORKS(chown("f", -1, CLUB));
      IS(0555 | kept, status("f").st_mode & 07777);
      become(0, 0);
      WORKS(chmod("f", 06555));
      if (!root) become_with(ALICE, STAFF, CLUB);
      WORKS(chown("f", ALICE, CLUB));
      IS(0555 | kept, status("f").st_mode & 07777);
      WORKS(chmod("f", 06555));
      WORKS(chown("f", -1, -1));
      IS(0555 | kept, status("f").st_mode & 07777);

      // Without the group's execute bit the set-group bit means something else, and stays with members.
      WORKS(chmod("f", 06644));
      WORKS(chown("f", -1, CLUB));
      IS(02644 | kept, status("f").st_mode & 07777);
      become(0, 0);
    }
    discard(kind, "f");
  }

  // Whoever may not change a program does not take its bits, either: not with a call that changes nothing.
  CONTEXT("stranger");
  write_file("f", 0644, "x");
  WORKS(chown("f", ALICE, STAFF));
  WORKS(chmod("f", 06755));
  become(BOB, CLUB);
  IS(1, chown("f", -1, -1) == 0 || errno == EPERM);
  IS(06755, status("f").st_mode & 07777);
  become(0, 0);
  IS(06755, status("f").st_mode & 07777);
  WORKS(unlink("f"));
  for (int way = 0; way < 3; way++) {
    CONTEXT("way %d", way);
    IS(BOB, runs_as(way));
  }

  // Contents that another user changes take the bits; root's writing does not.
  write_file("source", 0644, "9876543210");
  int source = open("source", O_RDONLY);
  static const int given[] = {04777, 02777, 06777};
  for (int i = 0; i < 3; i++)
    for (int way = 0; way < 7; way++) {
      CONTEXT("mode %o, way %d", given[i], way);
      write_file("f", 0644, "0123456789");
      WORKS(chmod("f", given[i]));
      become(ALICE, ALICE);
      int fd = open("f", O_RDWR | (way == 3 ? O_TRUNC : 0));
      switch (way) {
        case 0: IS(1, write(fd, "x", 1)); break;
        case 1: WORKS(ftruncate(fd, 3)); break;
        case 2: WORKS(truncate("f", 20)); break;
        case 4: WORKS(fallocate(fd, 0, 0, 100)); break;
        case 5: WORKS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5)); break;
        case 6: IS(5, copy_file_range(source, &(loff_t){0}, fd, &(loff_t){0}, 5, 0)); break;
      }
      struct stat now;
      WORKS(fstat(fd, &now));
      IS(0777, now.st_mode & 07777);
      IS(0777, status("f").st_mode & 07777);
      close(fd);
      become(0, 0);
      IS(0777, status("f").st_mode & 07777);
      WORKS(chmod("f", given[i]));
      fd = open("f", O_WRONLY);
      IS(1, write(fd, "x", 1));
      WORKS(fallocate(fd, 0, 0, 50));
      IS(3, copy_file_range(source, &(loff_t){0}, fd, &(loff_t){0}, 3, 0));
      WORKS(fstat(fd, &now));
      IS(given[i], now.st_mode & 07777);
      close(fd);
      WORKS(unlink("f"));
    }

  close(source);
  WORKS(unlink("source"));
}

static long seconds(struct timespec t) { return t.tv_sec; }

void times(void) {
  for (enum kind kind = 0; kind < KINDS; kind++) {
    CONTEXT("%s", kind_names[kind]);
    make(kind, "f", 0666);
    static const struct timespec values[] = {
      {0, 0}, {1, 1}, {1900000000, 999999999}, {2147483647, 0}, {2147483648, 5}, {4294967295, 0}, {4294967296, 7}, {-1, 0}, {-86400, 123456789}, {7258118400, 1}};
    for (int i = 0; i < 10; i++) {
      struct timespec both[2] = {values[i], values[9 - i]};
      WORKS(utimensat(AT_FDCWD, "f", both, AT_SYMLINK_NOFOLLOW));
      struct stat now = status("f");
      IS(both[0].tv_sec, seconds(now.st_atim));
      IS(both[0].tv_nsec, now.st_atim.tv_nsec);
      IS(both[1].tv_sec, seconds(now.st_mtim));
      IS(both[1].tv_nsec, now.st_mtim.tv_nsec);
    }

    struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}}, now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}}, one[2] = {{5, 6}, {0, UTIME_OMIT}},
      other[2] = {{0, UTIME_OMIT}, {7, 8}}, mixed[2] = {{0, UTIME_NOW}, {9, 1}}, bad[2] = {{0, 1000000000}, {0, 0}}, worse[2] = {{0, 0}, {0, -1}}, half[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    CHANGES(0, "f", WORKS(utimensat(AT_FDCWD, "f", omit, AT_SYMLINK_NOFOLLOW)));
    CHANGES(A | C, "f", WORKS(utimensat(AT_FDCWD, "f", one, AT_SYMLINK_NOFOLLOW)));
    CHANGES(M | C, "f", WORKS(utimensat(AT_FDCWD, "f", other, AT_SYMLINK_NOFOLLOW)));
    CHANGES(A | M | C, "f", WORKS(utimensat(AT_FDCWD, "f", mixed, AT_SYMLINK_NOFOLLOW)));
    CHANGES(A | M | C, "f", WORKS(utimensat(AT_FDCWD, "f", now, AT_SYMLINK_NOFOLLOW)));
    CHANGES(A | M | C, "f", WORKS(utimensat(AT_FDCWD, "f", 0, AT_SYMLINK_NOFOLLOW)));
    CHANGES(A | C, "f", WORKS(utimensat(AT_FDCWD, "f", half, AT_SYMLINK_NOFOLLOW)));
    CHANGES(0, "f", FAILS(EINVAL, utimensat(AT_FDCWD, "f", bad, AT_SYMLINK_NOFOLLOW)));
    CHANGES(0, "f", FAILS(EINVAL, utimensat(AT_FDCWD, "f", worse, AT_SYMLINK_NOFOLLOW)));

    // The owner sets any time; who may write only "now" for both; the others none.
    WORKS(lchown("f", ALICE, STAFF));
    become(ALICE, CLUB);
    WORKS(utimensat(AT_FDCWD, "f", one, AT_SYMLINK_NOFOLLOW));
    WORKS(utimensat(AT_FDCWD, "f", mixed, AT_SYMLINK_NOFOLLOW));
    become(BOB, CLUB);
    FAILS(EPERM, utimensat(AT_FDCWD, "f", one, AT_SYMLINK_NOFOLLOW));
    FAILS(EPERM, utimensat(AT_FDCWD, "f", mixed, AT_SYMLINK_NOFOLLOW));
    FAILS(EPERM, utimensat(AT_FDCWD, "f", half, AT_SYMLINK_NOFOLLOW));
    WORKS(utimensat(AT_FDCWD, "f", omit, AT_SYMLINK_NOFOLLOW));
    WORKS(utimensat(AT_FDCWD, "f", now, AT_SYMLINK_NOFOLLOW));
    WORKS(utimensat(AT_FDCWD, "f", 0, AT_SYMLINK_NOFOLLOW));
    become(0, 0);
    if (kind != SYMLINK) {
      WORKS(chmod("f", 0644));
      become(BOB, CLUB);
      FAILS(EACCES, utimensat(AT_FDCWD, "f", now, 0));
      FAILS(EACCES, utimensat(AT_FDCWD, "f", 0, 0));
      FAILS(EPERM, utimensat(AT_FDCWD, "f", one, 0));
      become(0, 0);
      WORKS(symlink("f", "soft"));
      struct stat before = status("soft");
      WORKS(utimensat(AT_FDCWD, "soft", one, 0));
      IS(5, status("f").st_atim.tv_sec);
      struct stat after = status("soft");
      IS(0, times_changed(&before, &after) & ~A);
      WORKS(unlink("soft"));
    }
    discard(kind, "f");
  }

  // Reading, writing, listing. The time of birth never changes.
  write_file("f", 0644, "text");
  struct statx born, later;
  IS(0, statx(AT_FDCWD, "f", 0, STATX_ALL, &born));
  IS(STATX_BTIME, born.stx_mask & STATX_BTIME);
  struct timespec past[2] = {{1000000000, 0}, {1000000000, 0}};
  char byte;
  int fd = open("f", O_RDWR);
  CHANGES(M | C, "f", IS(1, write(fd, "x", 1)));
  CHANGES(M | C, "f", IS(1, pwrite(fd, "x", 1, 100)));
  CHANGES(0, "f", IS(0, write(fd, "x", 0)));
  CHANGES(M | C, "f", WORKS(ftruncate(fd, 5)));
  CHANGES(M | C, "f", WORKS(ftruncate(fd, 9)));
  CHANGES(M | C, "f", WORKS(truncate("f", 12)));
  CHANGES(M | C, "f", WORKS(open_close("f", O_WRONLY | O_TRUNC, 0)));
  CHANGES(M | C, "f", WORKS(open_close("f", O_WRONLY | O_TRUNC, 0)));
  CHANGES(M | C, "f", WORKS(open_close("f", O_WRONLY | O_CREAT | O_TRUNC, 0)));
  CHANGES(0, "f", WORKS(open_close("f", O_WRONLY, 0)));
  CHANGES(0, "f", WORKS(open_close("f", O_WRONLY | O_CREAT, 0)));
  CHANGES(0, "f", WORKS(access("f", R_OK)));
  CHANGES(0, "f", WORKS(fsync(fd)));
  CHANGES(M | C, "f", WORKS(fallocate(fd, 0, 0, 8192)));
  CHANGES(M | C, "f", WORKS(fallocate(fd, 0, 0, 100)));
  CHANGES(M | C, "f", WORKS(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100)));
  CHANGES(M | C, "f", WORKS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 100)));
  WORKS(futimens(fd, past));
  IS(1000000000, status("f").st_mtim.tv_sec);
  CHANGES(A, "f", IS(1, pread(fd, &byte, 1, 0)));
  WORKS(futimens(fd, past));
  close(fd);
  IS(1000000000, status("f").st_mtim.tv_sec);

  // The first listing after a change moves the access time. O_NOATIME leaves it, and is for the owner.
  static char back[100];
  struct timespec old[2] = {{1000000000, 0}, {0, UTIME_OMIT}};
  make(DIRECTORY, "d", 0755);
  WORKS(utimensat(AT_FDCWD, "d", old, 0));
  CHANGES(A, "d", ({ DIR *list = opendir("d"); while (readdir(list)) {} closedir(list); }));
  write_file("g", 0644, "0123456789");
  fd = open("g", O_RDONLY | O_NOATIME);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  CHANGES(0, "g", IS(10, read(fd, back, 10)));
  CHANGES(0, "g", WORKS(open_close("g", O_RDONLY, 0)));
  close(fd);
  AS(ALICE, FAILS(EPERM, open_close("f", O_RDONLY | O_NOATIME, 0)));
  IS(0, statx(AT_FDCWD, "f", 0, STATX_ALL, &later));
  IS(0, memcmp(&born.stx_btime, &later.stx_btime, sizeof born.stx_btime));
}
