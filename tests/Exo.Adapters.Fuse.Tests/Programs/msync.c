// SPDX-License-Identifier: MIT
// msync FILE GENERATIONS: writes generations into a map of the file and makes each durable by msync. Before and after each it says so and waits for a line: whoever listens marks the moment.
// Sector s of generation g is written when (s + g) % 3 != 0, filled with g; its second half is made durable first, by a call of its own.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SECTORS = 128, SECTOR_WORDS = 64, HALF_BYTES = SECTORS * SECTOR_WORDS * 8 / 2 };

static void say(const char *what, int generation)
{
    char line[64];
    printf("%s %d\n", what, generation);
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        _exit(3);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;

    int file = open(argv[1], O_RDWR | O_CREAT, 0644);
    if (file < 0 || ftruncate(file, 2 * HALF_BYTES) != 0)
        return 1;

    char *bytes = mmap(NULL, 2 * HALF_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED || fsync(file) != 0)
        return 1;

    volatile uint64_t *map = (volatile uint64_t *)bytes;
    for (int generation = 1; generation <= atoi(argv[2]); generation++) {
        say("begun", generation);
        for (int sector = 0; sector < SECTORS; sector++)
            for (int word = 0; (sector + generation) % 3 != 0 && word < SECTOR_WORDS; word++)
                map[sector * SECTOR_WORDS + word] = generation;
        if (msync(bytes + HALF_BYTES, HALF_BYTES, MS_SYNC) != 0)
            return 1;
        say("second", generation);
        if (msync(bytes, HALF_BYTES, MS_SYNC) != 0)
            return 1;
        say("first", generation);
    }

    return 0;
}
