// SPDX-License-Identifier: MIT
// conformance DIR [all | prepare | read-only]: prints what does not hold, and at the end the number of assertions. Needs root.
#include "conformance.h"
#include <ftw.h>
#include <grp.h>
#include <time.h>

const char *const kind_names[KINDS] = {"file", "directory", "fifo", "block device", "character device", "socket", "symbolic link"};
char context[512];
static long assertions, failures;

void check(long got, long wanted, const char *what, const char *file, int line) {
  assertions++;
  if (got == wanted) return;
  failures++;
  const char *base = strrchr(file, '/');
  printf("%s:%d: %s: %ld", base ? base + 1 : file, line, what, got);
  if (got < 0) printf(" (%s)", strerror((int)-got));
  printf(", not %ld", wanted);
  if (wanted < 0) printf(" (%s)", strerror((int)-wanted));
  printf("%s%s\n", *context ? "; " : "", context);
}

static void must(int result, const char *what) {
  if (result == -1) { perror(what); exit(2); }
}

void become_with(uid_t user, gid_t group, gid_t other) {
  must(seteuid(0), "seteuid");
  gid_t groups[2] = {group, other};
  must(setgroups(user == 0 ? 0 : 2, groups), "setgroups");
  must(setegid(group), "setegid");
  must(seteuid(user), "seteuid");
}

void become(uid_t user, gid_t group) { become_with(user, group, group); }

void make(enum kind kind, const char *path, mode_t mode) {
  int fd;
  switch (kind) {
    case REGULAR: must(fd = open(path, O_CREAT | O_EXCL | O_WRONLY, mode), path); close(fd); break;
    case DIRECTORY: must(mkdir(path, mode), path); break;
    case FIFO: must(mkfifo(path, mode), path); break;
    case BLOCK: must(mknod(path, S_IFBLK | mode, makedev(1, 2)), path); break;
    case CHARACTER: must(mknod(path, S_IFCHR | mode, makedev(1, 2)), path); break;
    case SOCKET: {
      struct sockaddr_un address = {.sun_family = AF_UNIX};
      snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
      must(fd = socket(AF_UNIX, SOCK_STREAM, 0), "socket");
      must(bind(fd, (struct sockaddr *)&address, sizeof address), path);
      close(fd);
      must(chmod(path, mode), path);
      break;
    }
    default: must(symlink("test", path), path); break;
  }
}

void discard(enum kind kind, const char *path) { must(kind == DIRECTORY ? rmdir(path) : unlink(path), path); }

void write_file(const char *path, mode_t mode, const char *contents) {
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
  must(fd, path);
  if (write(fd, contents, strlen(contents)) != (ssize_t)strlen(contents)) { perror(path); exit(2); }
  close(fd);
}

struct stat status(const char *path) {
  struct stat found;
  must(lstat(path, &found), path);
  return found;
}

int open_close(const char *path, int flags, mode_t mode) {
  int fd = open(path, flags, mode);
  return fd < 0 ? -1 : close(fd);
}

void pause_for_clock(void) { nanosleep(&(struct timespec){0, 15 * 1000 * 1000}, 0); }

static int later(struct timespec a, struct timespec b) { return a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec; }

int times_changed(const struct stat *before, const struct stat *after) {
  return (later(before->st_atim, after->st_atim) ? A : 0) | (later(before->st_mtim, after->st_mtim) ? M : 0)
    | (later(before->st_ctim, after->st_ctim) ? C : 0);
}

static int remove_one(const char *path, const struct stat *found, int type, struct FTW *walk) {
  (void)found; (void)type; (void)walk;
  return remove(path);
}

static void section(const char *base, const char *name, void (*run)(void)) {
  must(chdir(base), base);
  must(mkdir(name, 0777), name);
  must(chdir(name), name);
  long before = assertions, failed = failures;
  run();
  become(0, 0);
  umask(0);
  *context = 0;
  printf("%-20s %5ld assertions, %ld failures\n", name, assertions - before, failures - failed);
  fflush(stdout);
  must(chdir(base), base);
  must(nftw(name, remove_one, 64, FTW_DEPTH | FTW_PHYS), name);
}

int main(int count, char **arguments) {
  static const struct { const char *name; void (*run)(void); } sections[] = {
    {"errors_of_paths", errors_of_paths}, {"opening", opening}, {"creating", creating}, {"modes", modes}, {"owners", owners},
    {"set_id_bits", set_id_bits}, {"removing", removing}, {"sticky_directories", sticky_directories}, {"renaming", renaming},
    {"linking", linking}, {"times", times}, {"lengths", lengths}, {"ranges", ranges}, {"locks", locks}, {"maps", maps}, {"listings", listings},
  };
  umask(0);
  alarm(300);
  const char *what = count > 2 ? arguments[2] : "all";
  char *base = realpath(arguments[1], 0);
  must(chmod(base, 0755) == -1 && errno != EROFS ? -1 : 0, base);
  if (!strcmp(what, "prepare")) {
    must(chdir(base), base);
    read_only_prepare();
  } else if (!strcmp(what, "read-only")) {
    must(chdir(base), base);
    read_only();
  } else {
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
      if (!strcmp(what, "all") || !strcmp(what, sections[i].name)) section(base, sections[i].name, sections[i].run);
  }

  printf("%ld assertions, %ld failures\n", assertions, failures);
  return failures != 0;
}
