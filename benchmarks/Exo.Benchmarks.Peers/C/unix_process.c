// SPDX-License-Identifier: MIT
// Two processes of the kernel's: a byte there and back through two pipes, or fork, exit and wait. Prints microseconds for each.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }

    int count = atoi(argv[2]);
    char byte = 0;
    double began;
    if (strcmp(argv[1], "pipe") == 0) {
        int there[2], back[2];
        if (pipe(there) || pipe(back)) {
            return 1;
        }

        if (fork() == 0) {
            close(there[1]);
            while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {
            }

            _exit(0);
        }

        began = now();
        for (int i = 0; i < count; i++) {
            if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) {
                return 1;
            }
        }
    } else {
        began = now();
        for (int i = 0; i < count; i++) {
            if (fork() == 0) {
                _exit(0);
            }

            wait(NULL);
        }
    }

    printf("%f\n", (now() - began) / count);
    return 0;
}
