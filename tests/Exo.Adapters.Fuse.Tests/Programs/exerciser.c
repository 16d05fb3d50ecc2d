// SPDX-License-Identifier: MIT
// exerciser FILE SEED OPERATIONS [direct]: random operations on one file, each checked against a model in memory. Prints the last operations when they disagree.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SizeMax = 256 * 1024, LogLines = 40, Align = 4096 };
static char model[SizeMax + 1], *buffer, log_lines[LogLines][120];
static long size, operation;
static const char *path;
static int fd, flags = O_RDWR;
static uint64_t state;

static uint64_t next_random(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

static long below(long most) { return most <= 0 ? 0 : (long)(next_random() % (uint64_t)most); }

static void note(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(log_lines[operation % LogLines], sizeof *log_lines, format, arguments);
  va_end(arguments);
}

static void fail(const char *what, long at) {
  printf("operation %ld: %s at %ld (errno %d: %s), size %ld\n", operation, what, at, errno, strerror(errno), size);
  for (long i = operation < LogLines ? 0 : operation - LogLines + 1; i <= operation; i++) printf("  %ld: %s\n", i, log_lines[i % LogLines]);
  exit(1);
}

static void compare(const char *got, long offset, long length, const char *what) {
  for (long i = 0; i < length; i++)
    if (got[i] != model[offset + i]) {
      printf("byte %ld is %d, not %d\n", offset + i, got[i], model[offset + i]);
      fail(what, offset);
    }
}

static void fill(char *at, long length) {
  for (long i = 0; i < length; i++) at[i] = (char)(operation + i * 7 + (i >> 8));
}

static void grow(long end) {
  if (end > size) size = end;
}

static void reopen(void) {
  if (fd >= 0 && close(fd)) fail("close", 0);
  if ((fd = open(path, flags)) < 0) fail("open", 0);
}

static void read_range(long offset, long length) {
  note("read %ld+%ld", offset, length);
  long there = offset >= size ? 0 : length < size - offset ? length : size - offset;
  if (pread(fd, buffer, length, offset) != there) fail("length of a read", offset);
  compare(buffer, offset, there, "read");
}

static void write_range(long offset, long length) {
  note("write %ld+%ld", offset, length);
  if (offset > size) memset(model + size, 0, offset - size);
  fill(model + offset, length);
  memcpy(buffer, model + offset, length);
  if (pwrite(fd, buffer, length, offset) != length) fail("write", offset);
  grow(offset + length);
}

static void truncate_to(long length) {
  note("truncate %ld", length);
  if (length > size) memset(model + size, 0, length - size);
  size = length;
  if (ftruncate(fd, length)) fail("truncate", length);
  memset(model + size, 0, SizeMax - size);
}

static void map_range(long offset, long length, int writes) {
  note("map%s %ld+%ld", writes ? "write" : "read", offset, length);
  if (writes && offset + length > size) truncate_to(offset + length);
  if (offset >= size || length == 0) return;
  if (offset + length > size) length = size - offset;
  long start = offset & ~4095L, bytes = length + (offset - start);
  char *map = mmap(0, bytes, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, start);
  if (map == MAP_FAILED) fail("mmap", offset);
  if (writes) {
    fill(model + offset, length);
    memcpy(map + offset - start, model + offset, length);
    if (below(2) && msync(map, bytes, MS_SYNC)) fail("msync", offset);
  } else {
    compare(map + offset - start, offset, length, "map");

    // What lies behind the end in the last page reads as zeros.
    long end = offset + length;
    if (end == size)
      for (long i = end; i & 4095; i++)
        if (map[i - start]) fail("a byte behind the end", i);
  }
  munmap(map, bytes);
}

static void allocate(int mode, long offset, long length, const char *name) {
  note("%s%s %ld+%ld", name, mode & FALLOC_FL_KEEP_SIZE ? " keep" : "", offset, length);
  if (length == 0) return;
  if (fallocate(fd, mode, offset, length)) fail(name, offset);
  long end = offset + length;
  if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && offset < size) memset(model + offset, 0, (end < size ? end : size) - offset);
  if (!(mode & FALLOC_FL_KEEP_SIZE) && end > size) {
    memset(model + size, 0, end - size);
    size = end;
  }
}

static void copy(long from, long to, long length) {
  note("copy %ld+%ld to %ld", from, length, to);
  if (from >= size || length == 0) return;
  if (from + length > size) length = size - from;
  if (from < to + length && to < from + length) return;
  off_t in = from, out = to;
  for (long left = length; left > 0;) {
    long done = copy_file_range(fd, &in, fd, &out, left, 0);
    if (done <= 0) fail("copy_file_range", from);
    left -= done;
  }
  if (to > size) memset(model + size, 0, to - size);
  memmove(model + to, model + from, length);
  grow(to + length);
}

static void seek(long offset) {
  note("seek %ld", offset);
  long data = lseek(fd, offset, SEEK_DATA), hole = lseek(fd, offset, SEEK_HOLE);
  if (offset >= size) {
    if (data != -1 || hole != -1) fail("seek behind the end", offset);
    return;
  }
  if (hole < offset || hole > size || (data != -1 && (data < offset || data >= size))) fail("seek", offset);
  for (long i = offset; i < (data < 0 ? size : data); i++)
    if (model[i]) fail("data in a hole", i);
}

static void check_all(void) {
  struct stat now;
  note("check");
  if (fstat(fd, &now) || now.st_size != size) { printf("size %ld\n", (long)now.st_size); fail("stat", size); }
  long done = 0;
  for (long n; done < size && (n = pread(fd, buffer, SizeMax, done)) > 0; done += n) compare(buffer, done, n, "check");
  if (done != size) fail("length of the file", done);
}

static void step(int direct) {
  long offset = below(3) ? below(size + 5000) : below(SizeMax), length = below(2) ? below(SizeMax / 4) : below(3000);
  if (below(4) == 0) offset &= ~4095L;
  if (below(4) == 0) length = (length + 4095) & ~4095L;
  if (direct) offset &= ~(long)(Align - 1), length = (length + Align - 1) & ~(long)(Align - 1);
  if (offset >= SizeMax) offset = SizeMax - Align;
  if (offset + length > SizeMax) length = SizeMax - offset;
  int keep = below(2) ? FALLOC_FL_KEEP_SIZE : 0;
  switch (below(20)) {
    case 0: case 1: case 2: case 3: write_range(offset, length); break;
    case 4: case 5: case 6: read_range(offset, length); break;
    case 7: truncate_to(below(3) ? offset : below(size + 1)); break;
    case 8: case 9: map_range(offset, length, 0); break;
    case 10: case 11: map_range(offset, length, 1); break;
    case 12: allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length, "punch"); break;
    case 13: allocate(FALLOC_FL_ZERO_RANGE | keep, offset, length, "zero"); break;
    case 14: allocate(keep, offset, length, "allocate"); break;
    case 15: copy(offset, below(SizeMax - length), length); break;
    case 16: note("reopen"); reopen(); break;
    case 17: note("fsync"); if (below(2) ? fsync(fd) : fdatasync(fd)) fail("fsync", 0); break;
    case 18: seek(offset); break;
    default: if (below(8) == 0) check_all(); else read_range(offset, length); break;
  }
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  path = arguments[1];
  state = strtoull(arguments[2], 0, 10) * 0x9E3779B97F4A7C15u | 1;
  long operations = strtol(arguments[3], 0, 10);
  int direct = count > 4 && !strcmp(arguments[4], "direct");
  if (posix_memalign((void **)&buffer, Align, SizeMax + Align)) return 2;
  if ((fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0644)) < 0) { perror(path); return 2; }
  if (direct) { flags |= O_DIRECT; reopen(); }
  for (operation = 0; operation < operations; operation++) step(direct);
  check_all();
  reopen();
  check_all();
  printf("%ld operations, size %ld, seed %s\n", operation, size, arguments[2]);
  return 0;
}
