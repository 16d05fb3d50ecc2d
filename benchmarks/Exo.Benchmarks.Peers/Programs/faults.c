// SPDX-License-Identifier: MIT
// The bare loop: one thread touches pages, the other resolves each fault by userfaultfd, with a page of a memory file that lies elsewhere. Prints microseconds per fault.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096L

static int faults, file;
static char *base;
static long pages;

static void die(const char *what) { perror(what); exit(1); }

static void *serve(void *unused) {
    (void)unused;
    for (;;) {
        struct pollfd ready = {.fd = faults, .events = POLLIN};
        struct uffd_msg message;
        if (poll(&ready, 1, -1) < 0) die("poll");
        if (read(faults, &message, sizeof message) != sizeof message) continue;
        uint64_t address = message.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
        long page = (long)((address - (uint64_t)base) / PAGE);
        long frame = page * 7919 % pages;
        if (mmap((void *)address, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, frame * PAGE) == MAP_FAILED) die("mmap");
        struct uffdio_range range = {address, PAGE};
        if (ioctl(faults, UFFDIO_WAKE, &range)) die("wake");
    }
}

int main(int argc, char **argv) {
    pages = argc > 1 ? atol(argv[1]) : 8192;
    faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = {.api = UFFD_API};
    if (faults < 0 || ioctl(faults, UFFDIO_API, &api)) die("userfaultfd");
    file = memfd_create("frames", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, pages * PAGE)) die("memfd");
    char *frames = mmap(0, (size_t)(pages * PAGE), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    memset(frames, 1, (size_t)(pages * PAGE));
    base = mmap(0, (size_t)(pages * PAGE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct uffdio_register all = {.range = {(uint64_t)base, (uint64_t)(pages * PAGE)}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (ioctl(faults, UFFDIO_REGISTER, &all)) die("register");
    pthread_t server;
    pthread_create(&server, 0, serve, 0);

    int sink[2];
    if (pipe(sink)) die("pipe");
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (long page = 0; page < pages; page++) {
        char byte;
        if (write(sink[1], base + page * PAGE, 1) != 1 || read(sink[0], &byte, 1) != 1) die("touch");
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.3f\n", ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / 1e3 / (double)pages);
    return 0;
}
