// SPDX-License-Identifier: MIT
// The errors that every call with a path has, as a table: what each call does with its path, and what is wrong with the path.
#include "conformance.h"
#include <sys/statfs.h>
#include <sys/xattr.h>

static int c_chmod(const char *p) { return chmod(p, 0600); }
static int c_chown(const char *p) { return chown(p, geteuid(), getegid()); }
static int c_lchown(const char *p) { return lchown(p, geteuid(), getegid()); }
static int c_link_from(const char *p) { return link(p, "other"); }
static int c_link_to(const char *p) { return link("source", p); }
static int c_mkdir(const char *p) { return mkdir(p, 0755); }
static int c_mkfifo(const char *p) { return mkfifo(p, 0644); }
static int c_mknod(const char *p) { return mknod(p, S_IFREG | 0644, 0); }
static int c_read(const char *p) { return open_close(p, O_RDONLY, 0); }
static int c_write(const char *p) { return open_close(p, O_WRONLY, 0); }
static int c_create(const char *p) { return open_close(p, O_CREAT | O_WRONLY, 0644); }
static int c_create_new(const char *p) { return open_close(p, O_CREAT | O_EXCL | O_RDWR, 0644); }
static int c_open_truncate(const char *p) { return open_close(p, O_WRONLY | O_TRUNC, 0); }
static int c_rename_from(const char *p) { return rename(p, "other"); }
static int c_rename_to(const char *p) { return rename("source", p); }
static int c_exchange(const char *p) { return renameat2(AT_FDCWD, p, AT_FDCWD, "source", RENAME_EXCHANGE); }
static int c_no_replace(const char *p) { return renameat2(AT_FDCWD, "source", AT_FDCWD, p, RENAME_NOREPLACE); }
static int c_rmdir(const char *p) { return rmdir(p); }
static int c_symlink(const char *p) { return symlink("target", p); }
static int c_truncate(const char *p) { return truncate(p, 10); }
static int c_unlink(const char *p) { return unlink(p); }
static int c_utimens(const char *p) { return utimensat(AT_FDCWD, p, 0, p ? 0 : AT_EMPTY_PATH); }
static int c_utimens_link(const char *p) { return utimensat(AT_FDCWD, p, 0, AT_SYMLINK_NOFOLLOW); }
static int c_stat(const char *p) { struct stat s; return stat(p, &s); }
static int c_lstat(const char *p) { struct stat s; return lstat(p, &s); }
static int c_statx(const char *p) { struct statx s; return statx(AT_FDCWD, p, 0, STATX_ALL, &s); }
static int c_readlink(const char *p) { char b[10]; return readlink(p, b, 10) < 0 ? -1 : 0; }
static int c_access(const char *p) { return faccessat(AT_FDCWD, p, R_OK, AT_EACCESS); }
static int c_chdir(const char *p) { int here = open(".", O_RDONLY), r = chdir(p), e = errno; if (fchdir(here)) abort(); close(here); errno = e; return r; }
static int c_statfs(const char *p) { struct statfs s; return statfs(p, &s); }
static int c_list(const char *p) { return open_close(p, O_RDONLY | O_DIRECTORY, 0); }
static int c_open_path(const char *p) { return open_close(p, O_PATH, 0); }
static int c_execute(const char *p) { char *a[] = {"x", 0}; return execv(p, a); }
static int c_bind(const char *p) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  if (!p || strlen(p) >= sizeof a.sun_path) { errno = 0; return 0; }
  strcpy(a.sun_path, p);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0), r = bind(fd, (struct sockaddr *)&a, sizeof a), e = errno;
  close(fd);
  errno = e == EADDRINUSE ? EEXIST : e;
  return r;
}

enum { FOLLOWS = 1, MAKES = 2, REMOVES = 4, WRITES = 8, OWNER = 16, DIRECTORY_ONLY = 32, NO_SYSTEM_CALL = 64, LINK_ONLY = 128, EXECUTES = 256, REPLACES = 512 };

static const struct call { const char *name; int (*run)(const char *); int is; } calls[] = {
  {"chmod", c_chmod, FOLLOWS | OWNER}, {"chown", c_chown, FOLLOWS | OWNER}, {"lchown", c_lchown, OWNER},
  {"link from", c_link_from, 0}, {"link to", c_link_to, MAKES}, {"mkdir", c_mkdir, MAKES}, {"mkfifo", c_mkfifo, MAKES}, {"mknod", c_mknod, MAKES},
  {"open for reading", c_read, FOLLOWS}, {"open for writing", c_write, FOLLOWS | WRITES}, {"open O_CREAT", c_create, FOLLOWS | MAKES | REPLACES},
  {"open O_CREAT|O_EXCL", c_create_new, MAKES}, {"open O_TRUNC", c_open_truncate, FOLLOWS | WRITES},
  {"rename from", c_rename_from, REMOVES}, {"rename to", c_rename_to, MAKES | REPLACES}, {"RENAME_EXCHANGE", c_exchange, REMOVES},
  {"RENAME_NOREPLACE", c_no_replace, MAKES}, {"rmdir", c_rmdir, REMOVES | DIRECTORY_ONLY}, {"symlink", c_symlink, MAKES},
  {"truncate", c_truncate, FOLLOWS | WRITES}, {"unlink", c_unlink, REMOVES}, {"utimensat", c_utimens, FOLLOWS | OWNER},
  {"utimensat of a link", c_utimens_link, OWNER}, {"stat", c_stat, FOLLOWS}, {"lstat", c_lstat, 0}, {"statx", c_statx, FOLLOWS},
  {"readlink", c_readlink, LINK_ONLY}, {"access", c_access, FOLLOWS}, {"chdir", c_chdir, FOLLOWS | DIRECTORY_ONLY}, {"statfs", c_statfs, FOLLOWS},
  {"opendir", c_list, FOLLOWS | DIRECTORY_ONLY}, {"open O_PATH", c_open_path, FOLLOWS}, {"execve", c_execute, FOLLOWS | EXECUTES}, {"bind", c_bind, MAKES | NO_SYSTEM_CALL},
};

// A path of directories that exist, of exactly this many bytes with a last component that does not; relative to here.
static char *deep_path(int length) {
  char *path = malloc(length + 1);
  memset(path, 'd', length);
  int left = length;
  char *at = path;
  while (left > 256 + 2) {
    int part = left >= 2 * 256 ? 255 : left - 256;
    at[part] = 0;
    if (mkdir(path, 0777) && errno != EEXIST) { perror("mkdir"); exit(2); }
    at[part] = '/';
    at += part + 1;
    left -= part + 1;
  }
  memset(at, 'z', left);
  path[length] = 0;
  return path;
}

void errors_of_paths(void) {
  static char name256[257], path4096[4097], name255[256], in255[300];
  memset(name256, 'n', 256);
  memset(name255, 'n', 255);
  memset(path4096, '/', 4096);
  memcpy(path4096, "dir", 3);
  snprintf(in255, sizeof in255, "dir/%s", name255);
  char *deep = deep_path(4095);
  WORKS(mkdir("dir", 0777));
  WORKS(mkdir("closed", 0666));
  WORKS(mkdir("fixed", 0555));
  WORKS(symlink("loop2", "loop1"));
  WORKS(symlink("loop1", "loop2"));
  WORKS(symlink("nowhere", "dangling"));
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    const struct call *call = &calls[i];
    int (*run)(const char *) = call->run;
    int no_write = REMOVES | MAKES;
    CONTEXT("%s", call->name);
    write_file("source", 0666, "s");
    write_file("file", 0666, "f");
    write_file("closed/file", 0666, "f");
    write_file("fixed/file", 0777, "f");
    WORKS(chown("source", ALICE, ALICE));
    FAILS(ENOTDIR, run("file/x"));
    FAILS(ENOTDIR, run("file/."));
    FAILS(ENOTDIR, run("file/x/y"));
    FAILS(ENOENT, run("none/x"));
    FAILS(ENOENT, run("none/x/y"));
    if (!(call->is & NO_SYSTEM_CALL)) FAILS(ENOENT, run(""));
    FAILS(ELOOP, run("loop1/x"));
    if ((call->is & FOLLOWS) && !(call->is & LINK_ONLY)) FAILS(ELOOP, run("loop1"));
    if (!(call->is & NO_SYSTEM_CALL)) {
      FAILS(ENAMETOOLONG, run(name256));
      FAILS(ENAMETOOLONG, run(path4096));
      if (call->run != c_utimens && call->run != c_utimens_link) FAILS(EFAULT, run(0));
      FAILS(EFAULT, run((const char *)-4096));
      if (call->is & MAKES) {
        WORKS(run(deep));
        if (call->run == c_rename_to || call->run == c_no_replace) write_file("source", 0666, "s");
        if (remove(deep)) { perror(call->name); exit(2); }
        WORKS(run(in255));
        struct stat made;
        WORKS(lstat(in255, &made));
        if (call->run == c_rename_to || call->run == c_no_replace) write_file("source", 0666, "s");
        WORKS(remove(in255));
      } else {
        FAILS(ENOENT, run(deep));
        FAILS(ENOENT, run(in255));
      }
    }
    if (!(call->is & MAKES)) FAILS(ENOENT, run("nowhere"));
    if ((call->is & FOLLOWS) && !(call->is & MAKES)) FAILS(ENOENT, run("dangling"));
    if ((call->is & MAKES) && !(call->is & REPLACES)) {
      FAILS(EEXIST, run("dir"));
      FAILS(EEXIST, run("file"));
      FAILS(EEXIST, run("dangling"));
      FAILS(EEXIST, run("loop1"));
      FAILS(EEXIST, run("dir/."));
      FAILS(EEXIST, run("dir/.."));
    }
    if (call->is & DIRECTORY_ONLY) FAILS(ENOTDIR, run("file"));
    AS(ALICE, {
      FAILS(EACCES, run("closed/file"));
      FAILS(EACCES, run("closed/none"));
      FAILS(EACCES, run("closed/none/x"));
      if ((call->is & no_write) && !(call->is & (REPLACES | DIRECTORY_ONLY))) FAILS(call->is & MAKES ? EEXIST : EACCES, run("fixed/file"));
      if (call->is & MAKES) FAILS(EACCES, run("fixed/none"));
    });
    if (call->is & OWNER) {
      WORKS(chmod("fixed/file", 0444));
      AS(ALICE, FAILS(call->run == c_utimens || call->run == c_utimens_link ? EACCES : EPERM, run("fixed/file")));
    }
    WORKS(chmod("fixed/file", 0));
    AS(ALICE, {
      if (call->is & WRITES || call->run == c_read || call->run == c_access || call->is & EXECUTES) FAILS(EACCES, run("fixed/file"));
      if (call->run == c_stat || call->run == c_lstat || call->run == c_statx || call->run == c_statfs || call->run == c_open_path) WORKS(run("fixed/file"));
    });
    WORKS(chmod("fixed/file", 0777));
  }
  free(deep);
}

void read_only_prepare(void) {
  WORKS(mkdir("dir", 0777));
  WORKS(mkdir("empty", 0777));
  write_file("source", 0666, "s");
  write_file("file", 0666, "f");
  write_file("script", 0777, "#!/bin/true\n");
  WORKS(symlink("file", "soft"));
  WORKS(mkfifo("fifo", 0666));
}

void read_only(void) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    const struct call *call = &calls[i];
    CONTEXT("%s", call->name);
    if (call->is & MAKES) {
      FAILS(EROFS, call->run("new"));
      FAILS(EROFS, call->run("dir/new"));
    }
    if ((call->is & MAKES) && !(call->is & REPLACES)) FAILS(call->run == c_no_replace ? EROFS : EEXIST, call->run("file"));
    if (call->is & (REMOVES | WRITES | OWNER)) FAILS(EROFS, call->run(call->is & DIRECTORY_ONLY ? "empty" : "file"));
    if (call->is & OWNER) FAILS(EROFS, call->run("dir"));
  }
  CONTEXT("read-only");
  FAILS(EROFS, link("file", "hard"));
  FAILS(EROFS, open_close("file", O_RDWR, 0));
  FAILS(EROFS, open_close("file", O_RDONLY | O_TRUNC, 0));
  FAILS(EROFS, open_close(".", O_TMPFILE | O_RDWR, 0600));
  FAILS(EROFS, access("file", W_OK));
  FAILS(EROFS, setxattr("file", "user.a", "1", 1, 0));
  WORKS(open_close("file", O_RDONLY, 0));
  WORKS(open_close("file", O_CREAT | O_RDONLY, 0666));
  WORKS(access("file", R_OK));
  char text[10];
  IS(4, readlink("soft", text, sizeof text));
  IS(1, ({ int fd = open("soft", O_RDONLY); long n = read(fd, text, 10); close(fd); n; }));
  int fifo = open("fifo", O_RDWR);
  IS(1, fifo >= 0 && write(fifo, "x", 1) == 1 && read(fifo, text, 10) == 1);
  close(fifo);
  struct statvfs space;
  WORKS(statvfs(".", &space));
  IS(ST_RDONLY, space.f_flag & ST_RDONLY);
}
