// SPDX-License-Identifier: MIT
// Lengths, ranges, locks, maps and listings.
#include "conformance.h"
#include <sys/file.h>

void lengths(void) {
  write_file("f", 0644, "0123456789");
  int fd = open("f", O_RDWR), read_fd = open("f", O_RDONLY), sizes[] = {0, 1, 511, 512, 513, 4095, 4096, 4097, 100000, 3, 1234567, 0};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    WORKS(ftruncate(fd, sizes[i]));
    IS(sizes[i], status("f").st_size);
    WORKS(truncate("f", sizes[i] + 1));
    IS(sizes[i] + 1, status("f").st_size);
    IS(1, pwrite(fd, "x", 1, sizes[i]));
  }
  WORKS(ftruncate(fd, 2));
  WORKS(ftruncate(fd, 5));
  char back[8] = "????????";
  IS(5, pread(fd, back, 8, 0));
  IS(0, memcmp(back, "x\0\0\0\0", 5));
  FAILS(EINVAL, ftruncate(fd, -1));
  FAILS(EINVAL, truncate("f", -1));
  FAILS(EINVAL, ftruncate(read_fd, 3));
  FAILS(EBADF, ftruncate(-1, 3));
  CHANGES(0, "f", FAILS(EINVAL, truncate("f", -1)));
  long huge = CALL(truncate("f", 999999999999999));
  IS(1, huge == 0 || huge == -EFBIG || huge == -EINVAL);
  IS(huge ? 5 : 999999999999999, status("f").st_size);
  WORKS(truncate("f", 5));
  IS(-EFBIG, CALL(ftruncate(fd, LONG_MAX)) == 0 ? -EFBIG : -errno);
  WORKS(truncate("f", 5));
  make(DIRECTORY, "d", 0755);
  make(FIFO, "p", 0644);
  FAILS(EISDIR, truncate("d", 1));
  FAILS(EINVAL, truncate("p", 1));
  AS(ALICE, FAILS(EACCES, truncate("f", 1)));
  AS(ALICE, CHANGES(0, "f", FAILS(EACCES, truncate("f", 1))));

  IS(EINVAL, posix_fallocate(fd, 0, 0));
  IS(EINVAL, posix_fallocate(fd, -1, 10));
  IS(EINVAL, posix_fallocate(fd, 0, -1));
  IS(EBADF, posix_fallocate(read_fd, 0, 1));
  IS(EFBIG, posix_fallocate(fd, LONG_MAX - 10, 100));
  IS(5, status("f").st_size);
  IS(0, posix_fallocate(fd, 20000, 3456));
  IS(23456, status("f").st_size);
  IS(0, posix_fallocate(fd, 0, 100));
  IS(23456, status("f").st_size);
  FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 100));
  FAILS(EOPNOTSUPP, fallocate(fd, 0x4000, 0, 100));
  FAILS(EINVAL, pwrite(fd, "x", 1, -1));
  FAILS(EINVAL, pread(fd, back, 1, -1));
  IS(0, pread(fd, back, 8, 1000000));
  IS(0, pwrite(fd, back, 0, 1000000));
  IS(23456, status("f").st_size);
  FAILS(EFAULT, write(fd, (void *)-4096, 1));
  FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
  FAILS(EINVAL, lseek(fd, 0, 77));
  IS(23456, lseek(fd, 0, SEEK_END));
  IS(1023456, lseek(fd, 1000000, SEEK_END));
  close(fd);
  close(read_fd);

  // What has contents has blocks: else it would be one hole.
  write_file("small", 0644, "small");
  IS(1, status("small").st_blocks > 0);
  WORKS(truncate("small", 0));
  IS(0, status("small").st_blocks);
  WORKS(truncate("small", 100000));
  IS(0, status("small").st_blocks);
}

void ranges(void) {
  int fd = open("f", O_CREAT | O_RDWR, 0644), other = open("g", O_CREAT | O_RDWR, 0644), reader = open("g", O_RDONLY), append = open("g", O_WRONLY | O_APPEND);
  WORKS(ftruncate(fd, 1 << 20));
  IS(3, pwrite(fd, "abc", 3, 100000));
  IS(3, pwrite(fd, "end", 3, (1 << 20) - 3));
  WORKS(fsync(fd));
  IS(1, lseek(fd, 0, SEEK_DATA) <= 100000);
  IS(1, lseek(fd, 0, SEEK_DATA) >= 0);
  IS(100000, lseek(fd, 100000, SEEK_DATA));
  long hole = lseek(fd, 100000, SEEK_HOLE);
  IS(1, hole > 100002 && hole <= 1 << 20);
  IS(1 << 20, lseek(fd, (1 << 20) - 2, SEEK_HOLE));
  FAILS(ENXIO, lseek(fd, 1 << 20, SEEK_DATA));
  FAILS(ENXIO, lseek(fd, 1 << 20, SEEK_HOLE));
  FAILS(ENXIO, lseek(fd, 2 << 20, SEEK_DATA));
  FAILS(ENXIO, lseek(fd, -1, SEEK_DATA));
  IS(1, lseek(fd, 0, SEEK_HOLE) == 0 || lseek(fd, 0, SEEK_HOLE) == 1 << 20 || lseek(fd, 0, SEEK_DATA) == 0);

  long in = 99998, out = 5;
  IS(8, copy_file_range(fd, &in, other, &out, 8, 0));
  IS(100006, in);
  IS(13, out);
  char back[16];
  IS(13, pread(other, back, 16, 0));
  IS(0, memcmp(back, "\0\0\0\0\0\0\0abc\0\0\0", 13));
  in = 1 << 20;
  IS(0, copy_file_range(fd, &in, other, &out, 8, 0));
  in = (1 << 20) - 3;
  out = 0;
  IS(3, copy_file_range(fd, &in, other, &out, 100, 0));
  IS(0, lseek(fd, 0, SEEK_SET) | lseek(other, 0, SEEK_SET));
  IS(1 << 20, copy_file_range(fd, 0, other, 0, 1 << 20, 0));
  IS(1 << 20, lseek(other, 0, SEEK_CUR));
  in = 0, out = 10;
  FAILS(EINVAL, copy_file_range(fd, &in, fd, &out, 100, 0));
  FAILS(EINVAL, copy_file_range(fd, &in, other, &out, 100, 1));
  FAILS(EBADF, copy_file_range(fd, &in, reader, &out, 100, 0));
  FAILS(EBADF, copy_file_range(fd, &in, append, &out, 100, 0));
  int directory = open(".", O_RDONLY);
  FAILS(EISDIR, copy_file_range(directory, &in, other, &out, 100, 0));
  close(directory);
  CHANGES(M | C, "g", ({ in = 0; out = 0; IS(100, copy_file_range(fd, &in, other, &out, 100, 0)); }));

  // What is past the end reads as zeros when the file grows again, also behind a map or a hole.
  IS(4, pwrite(other, "tail", 4, 5000));
  WORKS(ftruncate(other, 5001));
  WORKS(ftruncate(other, 9000));
  IS(4, pread(other, back, 4, 5000));
  IS(0, memcmp(back, "t\0\0\0", 4));
  blkcnt_t full = ({ WORKS(fallocate(other, 0, 0, 1 << 20)); status("g").st_blocks; });
  WORKS(fallocate(other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
  IS(1, status("g").st_blocks < full);
  IS(1, pread(other, back, 1, 5000));
  IS(0, back[0]);
  close(fd);
  close(other);
  close(reader);
  close(append);
}

static int in_child(int (*run)(void)) {
  int child = fork(), how;
  if (child == 0) _exit(run());
  waitpid(child, &how, 0);
  return WEXITSTATUS(how);
}

static struct flock lock_of(short type, long start, long length) { return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length}; }
static int set_lock(int fd, short type, long start, long length) { struct flock l = lock_of(type, start, length); return fcntl(fd, F_SETLK, &l); }
static int child_write(void) { int fd = open("f", O_RDWR); return set_lock(fd, F_WRLCK, 0, 10) ? errno : 0; }
static int child_write_beside(void) { int fd = open("f", O_RDWR); return set_lock(fd, F_WRLCK, 10, 10) ? errno : 0; }
static int child_read(void) { int fd = open("f", O_RDWR); return set_lock(fd, F_RDLCK, 0, 10) ? errno : 0; }
static int child_flock(void) { int fd = open("f", O_RDWR); return flock(fd, LOCK_EX | LOCK_NB) ? errno : 0; }
static int child_asks(void) { int fd = open("f", O_RDWR); struct flock l = lock_of(F_WRLCK, 0, 0); return fcntl(fd, F_GETLK, &l) ? 99 : l.l_type == F_UNLCK ? 0 : l.l_pid == getppid() ? 1 : 98; }

void locks(void) {
  int fd = open("f", O_CREAT | O_RDWR, 0644), read_fd = open("f", O_RDONLY);
  WORKS(set_lock(fd, F_WRLCK, 0, 10));
  IS(EAGAIN, in_child(child_write));
  IS(EAGAIN, in_child(child_read));
  IS(0, in_child(child_write_beside));
  IS(1, in_child(child_asks));
  WORKS(set_lock(fd, F_RDLCK, 0, 10));
  IS(0, in_child(child_read));
  IS(EAGAIN, in_child(child_write));
  WORKS(set_lock(fd, F_UNLCK, 0, 0));
  IS(0, in_child(child_asks));
  FAILS(EBADF, set_lock(read_fd, F_WRLCK, 0, 10));
  WORKS(flock(fd, LOCK_EX));
  IS(EWOULDBLOCK, in_child(child_flock));
  IS(-EWOULDBLOCK, CALL(flock(read_fd, LOCK_SH | LOCK_NB)));
  WORKS(flock(fd, LOCK_UN));
  IS(0, in_child(child_flock));

  // Any close of the file gives up the process's record locks; those of an open file description stay with it.
  WORKS(set_lock(fd, F_WRLCK, 0, 10));
  close(read_fd);
  IS(0, in_child(child_write));
  struct flock l = lock_of(F_WRLCK, 0, 10);
  WORKS(fcntl(fd, F_OFD_SETLK, &l));
  IS(EAGAIN, in_child(child_write));
  close(fd);
  IS(0, in_child(child_write));
}

// What was written through a map is data, also before anybody has asked for it to be written back: else a copy lacks it.
static void data_of_maps(void) {
  enum { Pages = 16 };
  long page = sysconf(_SC_PAGESIZE);
  int fd = open("sparse", O_CREAT | O_RDWR, 0644), reader = open("sparse", O_RDONLY);
  WORKS(ftruncate(fd, Pages * page + 5));
  char *shared = mmap(0, Pages * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  FAILS(ENXIO, lseek(reader, 0, SEEK_DATA));
  IS(0, lseek(reader, 0, SEEK_HOLE));
  shared[3 * page + 7] = shared[5 * page] = 'm';
  IS(3 * page, lseek(reader, 0, SEEK_DATA));
  IS(5 * page, lseek(reader, 4 * page, SEEK_DATA));
  FAILS(ENXIO, lseek(reader, 6 * page, SEEK_DATA));
  shared[4 * page] = shared[6 * page + 1] = 'm';
  IS(7 * page, lseek(reader, 3 * page + 1, SEEK_HOLE));
  memset(shared + 7 * page, 'm', 4 * page);
  memset(shared + 12 * page, 'm', 4 * page);
  IS(11 * page, lseek(reader, 3 * page, SEEK_HOLE));
  IS(16 * page, lseek(reader, 12 * page, SEEK_HOLE));
  IS(12 * page, lseek(reader, 11 * page, SEEK_DATA));
  shared[11 * page + 100] = 'm';
  IS(16 * page, lseek(reader, 3 * page, SEEK_HOLE));
  munmap(shared, Pages * page);
  close(reader);
  close(fd);
}

void maps(void) {
  int fd = open("f", O_CREAT | O_RDWR, 0644), read_fd = open("f", O_RDONLY);
  long page = sysconf(_SC_PAGESIZE);
  WORKS(ftruncate(fd, page + 100));
  char *shared = mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  IS(1, shared != MAP_FAILED);
  IS(1, mmap(0, page, PROT_READ | PROT_WRITE, MAP_SHARED, read_fd, 0) == MAP_FAILED && errno == EACCES);
  char *private = mmap(0, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, read_fd, 0);
  IS(1, private != MAP_FAILED);
  memcpy(shared + 10, "by map", 6);
  char back[16];
  IS(6, pread(fd, back, 6, 10));
  IS(0, memcmp(back, "by map", 6));
  IS(8, pwrite(fd, "by write", 8, 100));
  IS(0, memcmp(shared + 100, "by write", 8));
  IS(0, memcmp(private + 100, "by write", 8));
  private[100] = 'X';
  IS('b', shared[100]);
  WORKS(msync(shared, 2 * page, MS_SYNC));
  CHANGES(M | C, "f", { shared[50] = 'm'; WORKS(msync(shared, 2 * page, MS_SYNC)); });

  // Past the end within the page: there while mapped, never in the file.
  shared[page + 200] = 'Z';
  WORKS(msync(shared, 2 * page, MS_SYNC));
  WORKS(ftruncate(fd, page + 300));
  IS(1, pread(fd, back, 1, page + 200));
  IS(0, back[0]);
  close(fd);
  shared[20] = 'c';
  munmap(shared, 2 * page);
  munmap(private, page);
  IS(1, pread(read_fd, back, 1, 20));
  IS('c', back[0]);
  close(read_fd);
  data_of_maps();
}

static ino_t number_above(const char *path) {
  ino_t number = 0;
  DIR *list = opendir(path);
  for (struct dirent *entry; (entry = readdir(list));) if (!strcmp(entry->d_name, "..")) number = entry->d_ino;
  closedir(list);
  return number;
}

// A directory's listing says where it is, also after it has moved.
static void listings_of_moved(void) {
  for (int i = 0; i < 2; i++) make(DIRECTORY, i ? "to" : "from", 0755);
  make(DIRECTORY, "from/d", 0755);
  make(DIRECTORY, "to/e", 0755);
  IS(status("from").st_ino, number_above("from/d"));
  IS(status("to").st_ino, number_above("to/e"));
  WORKS(rename("from/d", "to/d"));
  IS(status("to").st_ino, number_above("to/d"));
  WORKS(rename("to/d", "from/d"));
  IS(status("from").st_ino, number_above("from/d"));
  WORKS(renameat2(AT_FDCWD, "from/d", AT_FDCWD, "to/e", RENAME_EXCHANGE));
  IS(status("from").st_ino, number_above("from/d"));
  IS(status("to").st_ino, number_above("to/e"));
  write_file("from/f", 0644, "f");
  WORKS(renameat2(AT_FDCWD, "from/f", AT_FDCWD, "to/e", RENAME_EXCHANGE));
  IS(status("from").st_ino, number_above("from/f"));
}

void listings(void) {
  listings_of_moved();
  enum { Count = 500 };
  char name[300];
  make(DIRECTORY, "d", 0755);
  for (int i = 0; i < Count; i++) {
    snprintf(name, sizeof name, "d/%d", i);
    make(i % KINDS == SOCKET ? REGULAR : i % KINDS, name, 0644);
  }
  static const unsigned char types[KINDS] = {DT_REG, DT_DIR, DT_FIFO, DT_BLK, DT_CHR, DT_REG, DT_LNK};
  long positions[Count + 2];
  char *names[Count + 2];
  int found = 0, dots = 0;
  DIR *list = opendir("d");
  for (struct dirent *entry; found < Count + 2; found++) {
    positions[found] = telldir(list);
    if (!(entry = readdir(list))) break;
    names[found] = strdup(entry->d_name);
    if (entry->d_name[0] == '.') {
      dots++;
      IS(DT_DIR, entry->d_type);
      IS(status(entry->d_name[1] ? "." : "d").st_ino, entry->d_ino);
      continue;
    }
    IS(types[atoi(entry->d_name) % KINDS], entry->d_type);
    snprintf(name, sizeof name, "d/%s", entry->d_name);
    IS(status(name).st_ino, entry->d_ino);
  }
  IS(Count + 2, found);
  IS(2, dots);

  // A position leads back to where it was, also while others come and go.
  for (int i = 0; i < found; i += 37) {
    seekdir(list, positions[i]);
    IS(0, strcmp(readdir(list)->d_name, names[i]));
  }
  rewinddir(list);
  int half = 0, rest = 0;
  for (struct dirent *entry; half < Count / 2 && (entry = readdir(list)); half++) {}
  for (int i = 0; i < half; i++) {
    snprintf(name, sizeof name, "d/%s", names[i]);
    if (names[i][0] != '.') WORKS(remove(name));
  }
  while (readdir(list)) rest++;
  IS(Count + 2 - half, rest);
  rewinddir(list);
  rest = 0;
  while (readdir(list)) rest++;
  IS(1, rest <= Count + 4 - half && rest >= Count + 2 - half);
  closedir(list);
  for (int i = 0; i < found; i++) free(names[i]);
}
