// SPDX-License-Identifier: MIT
// handles DIR save PATH...: prints a handle of each path. handles DIR open HANDLE...: what each is now: its inode number and contents, or the error.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **arguments) {
  if (count < 4) return 2;
  int mount = open(arguments[1], O_RDONLY | O_DIRECTORY);
  union { struct file_handle handle; char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ]; } at;
  for (int i = 3; i < count; i++) {
    if (!strcmp(arguments[2], "save")) {
      int id;
      at.handle.handle_bytes = MAX_HANDLE_SZ;
      if (name_to_handle_at(mount, arguments[i], &at.handle, &id, 0)) { perror(arguments[i]); return 1; }
      printf("%x:", at.handle.handle_type);
      for (unsigned b = 0; b < at.handle.handle_bytes; b++) printf("%02x", at.handle.f_handle[b]);
      puts("");
      continue;
    }

    char *hex = strchr(arguments[i], ':') + 1;
    at.handle.handle_type = strtol(arguments[i], 0, 16);
    at.handle.handle_bytes = strlen(hex) / 2;
    for (unsigned b = 0; b < at.handle.handle_bytes; b++) sscanf(hex + 2 * b, "%2hhx", &at.handle.f_handle[b]);
    int fd = open_by_handle_at(mount, &at.handle, O_RDONLY);
    if (fd < 0) { printf("%s\n", strerrorname_np(errno)); continue; }
    struct stat found;
    char text[100] = "";
    if (fstat(fd, &found)) { perror("fstat"); return 1; }
    if (S_ISREG(found.st_mode) && read(fd, text, sizeof text - 1) < 0) { perror("read"); return 1; }
    printf("%lu %s\n", (unsigned long)found.st_ino, S_ISDIR(found.st_mode) ? "directory" : text);
    close(fd);
  }
  return 0;
}
