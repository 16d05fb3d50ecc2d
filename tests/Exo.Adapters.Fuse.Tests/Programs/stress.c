// SPDX-License-Identifier: MIT
// stress DIR SEED OPERATIONS PROCESSES: processes that do random operations in one tree. What may fail fails; what may not (EIO, ESTALE and the like) ends the run.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state;
static long done_well;

static uint64_t next_random(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

static int below(int most) { return (int)(next_random() % (uint64_t)most); }

// Up to three levels of few names each: the processes meet all the time.
static const char *random_path(char *to) {
  char *at = to;
  for (int depth = below(3); depth > 0; depth--) at += sprintf(at, "d%d/", below(4));
  sprintf(at, "%c%d", "dfffl"[below(5)], below(12));
  return to;
}

static void did(int result, const char *what, const char *path) {
  if (result >= 0) { done_well++; return; }
  switch (errno) {
    case ENOENT: case EEXIST: case ENOTDIR: case EISDIR: case ENOTEMPTY: case EINVAL: case ELOOP: case EBUSY: case ENXIO: case EPERM: case ENODEV: case ENOSPC: case EXDEV: case EBADF:
    case EOPNOTSUPP: case ETXTBSY: case EMLINK: return;
    default: printf("%s %s: %s\n", what, path, strerror(errno)); fflush(stdout); _exit(1);
  }
}

static void with_file(const char *path) {
  static char buffer[65536];
  int fd = open(path, (below(2) ? O_CREAT : 0) | O_RDWR | O_NONBLOCK | (below(8) ? 0 : O_TRUNC) | (below(8) ? 0 : O_APPEND), 0644);
  did(fd, "open", path);
  if (fd < 0) return;
  struct stat now;
  if (fstat(fd, &now) || !S_ISREG(now.st_mode)) { close(fd); return; }
  for (int count = below(4) + 1; count > 0; count--) {
    long offset = below(300000), length = below(sizeof buffer) + 1;
    switch (below(10)) {
      case 0: case 1: case 2: memset(buffer, (int)offset, length); did((int)pwrite(fd, buffer, length, offset), "write", path); break;
      case 3: case 4: did((int)pread(fd, buffer, length, offset), "read", path); break;
      case 5: did(ftruncate(fd, offset), "truncate", path); break;
      case 6: did(fallocate(fd, below(2) ? 0 : FALLOC_FL_KEEP_SIZE | (below(2) ? FALLOC_FL_PUNCH_HOLE : 0), offset, length), "fallocate", path); break;
      case 7: did(fsync(fd), "fsync", path); break;
      case 8: { off_t from = 0, to = offset; int other = open("f1", O_RDONLY | O_NONBLOCK); if (other >= 0) { did((int)copy_file_range(other, &from, fd, &to, length, 0), "copy_file_range", path); close(other); } break; }
      default: did((int)lseek(fd, offset, below(2) ? SEEK_DATA : SEEK_HOLE), "seek", path); break;
    }
  }
  did(close(fd), "close", path);
}

static void list(const char *path) {
  DIR *directory = opendir(path);
  if (!directory) { did(-1, "opendir", path); return; }
  errno = 0;
  while (readdir(directory)) {}
  did(errno ? -1 : 0, "readdir", path);
  closedir(directory);
}

static void step(void) {
  char one[100], two[100];
  random_path(one);
  random_path(two);
  struct stat found;
  switch (below(20)) {
    case 0: case 1: case 2: did(mkdir(one, 0755), "mkdir", one); break;
    case 3: did(rmdir(one), "rmdir", one); break;
    case 4: case 5: did(unlink(one), "unlink", one); break;
    case 6: case 7: did(rename(one, two), "rename", one); break;
    case 8: did(renameat2(AT_FDCWD, one, AT_FDCWD, two, below(2) ? RENAME_EXCHANGE : RENAME_NOREPLACE), "renameat2", one); break;
    case 9: case 10: did(link(one, two), "link", one); break;
    case 11: did(symlink(two, one), "symlink", one); break;
    case 12: did(below(2) ? mkfifo(one, 0644) : mknod(one, S_IFCHR | 0644, makedev(1, 3)), "mknod", one); break;
    case 13: did(stat(one, &found), "stat", one); break;
    case 14: did(below(2) ? chmod(one, below(0777)) : lchown(one, below(5), below(5)), "chmod", one); break;
    case 15: list(below(2) ? one : "."); break;
    case 16: {
      int fd = open(".", O_TMPFILE | O_RDWR, 0644);
      did(fd, "O_TMPFILE", ".");
      if (fd < 0) break;
      did((int)write(fd, one, sizeof one), "write", "O_TMPFILE");
      char open_path[64];
      sprintf(open_path, "/proc/self/fd/%d", fd);
      if (below(2)) did(linkat(AT_FDCWD, open_path, AT_FDCWD, one, AT_SYMLINK_FOLLOW), "linkat", one);
      close(fd);
      break;
    }
    default: with_file(one); break;
  }
}

int main(int count, char **arguments) {
  if (count < 5 || chdir(arguments[1])) return 2;
  int processes = atoi(arguments[4]), failed = 0;
  for (int p = 0; p < processes; p++)
    if (fork() == 0) {
      state = (strtoull(arguments[2], 0, 10) * 64 + p) * 0x9E3779B97F4A7C15u | 1;
      for (long i = strtol(arguments[3], 0, 10); i > 0; i--) step();
      printf("process %d: %ld operations went well\n", p, done_well);
      fflush(stdout);
      _exit(done_well == 0);
    }
  for (int how; wait(&how) > 0;) failed |= how != 0;
  printf("seed %s: %s\n", arguments[2], failed ? "failed" : "well");
  return failed;
}
