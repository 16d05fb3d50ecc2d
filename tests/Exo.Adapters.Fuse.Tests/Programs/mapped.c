// SPDX-License-Identifier: MIT
// mapped FILE GENERATION: from that generation on, fills a map of the file with the generation, sector by sector, and makes it durable by msync; says each number after that.
// Beside it, a log: one record for each generation, appended and made durable by fsync. Ends when the disk has gone.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SECTORS = 256, SECTOR_WORDS = 64 };

static void gone(int signal)
{
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;

    // A page of a map that cannot be read any more.
    signal(SIGBUS, gone);
    char log_path[4096];
    snprintf(log_path, sizeof log_path, "%s.log", argv[1]);
    int file = open(argv[1], O_RDWR | O_CREAT, 0644);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0 || log < 0 || ftruncate(file, SECTORS * SECTOR_WORDS * 8) != 0)
        return 1;

    uint64_t *map = mmap(NULL, SECTORS * SECTOR_WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED || fsync(file) != 0)
        return 1;

    for (uint64_t generation = strtoull(argv[2], NULL, 10);; generation++) {
        // Every sector of it in odd generations, else every third: some pages stay clean.
        for (int sector = 0; sector < SECTORS; sector += generation % 2 ? 1 : 3)
            for (int word = 0; word < SECTOR_WORDS; word++)
                map[sector * SECTOR_WORDS + word] = generation;
        if (msync(map, SECTORS * SECTOR_WORDS * 8, MS_SYNC) != 0 || write(log, &generation, sizeof generation) != sizeof generation || fsync(log) != 0)
            return 0;

        printf("%llu\n", (unsigned long long)generation);
        fflush(stdout);
    }
}
