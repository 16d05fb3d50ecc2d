// SPDX-License-Identifier: MIT
// Assertions about system calls, made directly: no shell, no library between. Each section runs in an empty directory of its own.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ALICE = 65534, BOB = 65533, STAFF = 65532, CLUB = 65531 };

// The kinds of inode, each made by make().
enum kind { REGULAR, DIRECTORY, FIFO, BLOCK, CHARACTER, SOCKET, SYMLINK, KINDS };
extern const char *const kind_names[KINDS];

// One assertion: counted, and printed when it does not hold.
void check(long got, long wanted, const char *what, const char *file, int line);

// The value of an expression; 0 and up, or minus the error number where the call fails with -1.
#define IS(wanted, value) check((long)(value), (long)(wanted), #value, __FILE__, __LINE__)
#define CALL(call) (errno = 0, (call) == -1 ? -(long)errno : 0)
#define WORKS(call) check(CALL(call), 0, #call, __FILE__, __LINE__)
#define FAILS(error, call) check(CALL(call), -(long)(error), #call, __FILE__, __LINE__)

// The rest of an assertion's name where the code runs several times.
extern char context[512];
#define CONTEXT(...) snprintf(context, sizeof context, __VA_ARGS__)

// Effective user, group and supplementary groups. Root again with become(0, 0).
void become(uid_t user, gid_t group);
void become_with(uid_t user, gid_t group, gid_t other);

#define AS(user, ...) do { become(user, user); __VA_ARGS__; become(0, 0); } while (0)

void make(enum kind kind, const char *path, mode_t mode);
void discard(enum kind kind, const char *path);
void write_file(const char *path, mode_t mode, const char *contents);
struct stat status(const char *path);
int open_close(const char *path, int flags, mode_t mode);

// The times that a call changes: some of 'a', 'm', 'c' as bits. Clocks tick every few milliseconds: a pause makes them go on.
enum { A = 1, M = 2, C = 4 };
void pause_for_clock(void);
int times_changed(const struct stat *before, const struct stat *after);

#define CHANGES(wanted, path, call) do { \
    struct stat before_ = status(path); pause_for_clock(); call; struct stat after_ = status(path); \
    check(times_changed(&before_, &after_), wanted, "times of " path " after " #call, __FILE__, __LINE__); } while (0)

void errors_of_paths(void);
void opening(void);
void creating(void);
void modes(void);
void owners(void);
void set_id_bits(void);
void removing(void);
void sticky_directories(void);
void renaming(void);
void linking(void);
void times(void);
void lengths(void);
void ranges(void);
void locks(void);
void maps(void);
void listings(void);
void read_only_prepare(void);
void read_only(void);
