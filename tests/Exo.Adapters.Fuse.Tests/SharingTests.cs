// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>What several users do to each other: appends, locks, maps, permissions.</summary>
public sealed class SharingTests
{
    private const int O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0x40, O_APPEND = 0x400;

    [Theory]
    [InlineData("io_uring,writeback")]
    [InlineData("noio_uring")]
    public void Appends_of_several_writers_do_not_overwrite_each_other(string how)
    {
        using Mounted at = new(new FuseMountOptions().With(how));
        at.Shell("""
            for w in 1 2 3 4; do (i=0; while [ $i -lt 300 ]; do echo "writer $w line $i"; i=$((i+1)); done >> log) & done; wait
            test "$(wc -l < log)" = 1200; test "$(sort -u log | wc -l)" = 1200
            """);
        int fd = Posix.Open(at["g"], O_WRONLY | O_CREAT | O_APPEND);
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, writer =>
        {
            byte[] line = [.. Enumerable.Repeat((byte)('a' + writer), 99), (byte)'\n'];
            for (int i = 0; i < 100; i++)
            {
                Assert.Equal(100, Posix.Append(fd, line));
            }
        });
        Assert.Equal(0, Posix.Close(fd));
        Assert.Equal([100, 100, 100, 100], File.ReadAllLines(at["g"]).GroupBy(line => new string(line[0], 99) == line ? line[0] : '?').OrderBy(g => g.Key).Select(g => g.Count()));
    }

    [Fact]
    public void Locks_are_the_kernels()
    {
        const int Shared = 1, Exclusive = 2, Now = 4;
        using Mounted at = new();
        File.WriteAllText(at["f"], "x");
        int one = Posix.Open(at["f"], O_RDWR);
        int two = Posix.Open(at["f"], O_RDWR);
        Assert.Equal(0, Posix.Flock(one, Exclusive | Now));
        Assert.Equal(-Posix.EAGAIN, Posix.Flock(two, Shared | Now));
        Assert.Equal("busy\n", at.Shell("flock -n f true || echo busy"));
        Assert.Equal(0, Posix.Close(one));
        Assert.Equal(0, Posix.Flock(two, Shared | Now));
        Assert.Equal(0, Posix.Close(two));
    }

    [Fact]
    public void What_is_not_there_is_refused_as_elsewhere()
    {
        using Mounted at = new();
        File.WriteAllText(at["f"], "x");
        int fd = Posix.Open(at["f"], O_RDWR);
        const nuint TcGets = 0x5401;
        Assert.Equal(-Posix.ENOTTY, Posix.Ioctl(fd, TcGets));
        Assert.Equal(-Posix.ENOTTY, Posix.Ioctl(fd, 0x80086601));
        Assert.Equal(-Posix.EOPNOTSUPP, Posix.SetAttribute(at["f"], "system.unknown"));
        Assert.Equal(0, Posix.Close(fd));
    }

    [Fact]
    public void Shared_maps_and_reads_see_the_same_bytes()
    {
        // A program of its own: this process serves the mount, and must not wait for itself in a page fault.
        Requires.Program("gcc");
        using Mounted at = new();
        File.WriteAllText(at["m.c"], """
            #include <fcntl.h>
            #include <stdio.h>
            #include <string.h>
            #include <sys/mman.h>
            #include <sys/wait.h>
            #include <unistd.h>
            int main(void) {
              int fd = open("m", O_RDWR | O_CREAT, 0644);
              if (ftruncate(fd, 1 << 20)) return 1;
              char *a = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
              if (a == MAP_FAILED) return 2;
              if (!fork()) { int g = open("m", O_RDWR); char *b = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, g, 0);
                             strcpy(b + 500000, "from the child"); _exit(0); }
              int status; wait(&status);
              if (strcmp(a + 500000, "from the child")) return 3;
              strcpy(a + 4090, "across two pages");
              char s[20];
              if (pread(fd, s, 17, 4090) != 17 || strcmp(s, "across two pages")) return 4;
              if (pwrite(fd, "by write", 9, 900000) != 9 || strcmp(a + 900000, "by write")) return 5;
              if (msync(a, 1 << 20, MS_SYNC)) return 6;
              munmap(a, 1 << 20); close(fd);
              return 0;
            }
            """);
        at.Shell("gcc -o m.out m.c; ./m.out; sync; test \"$(dd if=m bs=1 skip=500000 count=14 2>/dev/null)\" = 'from the child'");
    }

    [Fact]
    public void The_kernel_checks_permissions_and_sticky_directories()
    {
        Requires.Root();
        Requires.Program("setpriv");
        using Mounted at = new(new FuseMountOptions { AllowOther = true });
        const string As = "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c";
        at.Shell($"""
            chmod 755 .; echo secret >s; chmod 600 s; mkdir -m 1777 t; echo mine >t/root; chmod 666 t/root; mkdir -m 700 closed; echo x >closed/x
            ! {As} 'cat s' 2>/dev/null; ! {As} 'echo >new' 2>/dev/null; ! {As} 'ls closed' 2>/dev/null; ! {As} 'cat closed/x' 2>/dev/null
            ! {As} 'rm -f t/root' 2>/dev/null; ! {As} 'mv t/root t/other' 2>/dev/null
            {As} 'echo yes >t/own; cat t/root; mv t/own t/own2; rm t/own2' >/dev/null
            ! {As} 'chmod 777 s' 2>/dev/null; ! {As} 'touch -d 2001-01-01 t/root' 2>/dev/null; {As} 'touch t/root'
            ! {As} 'mknod t/dev c 1 3' 2>/dev/null; {As} 'mkfifo t/fifo'; test "$(stat -c %u t/fifo)" = 65534
            """);
    }

    [Fact]
    public void Devices_fifos_and_times_are_kept()
    {
        Requires.Root();
        using Mounted at = new();
        const long Now = 0x3FFFFFFF, Omit = 0x3FFFFFFE;
        Assert.Equal(0, Posix.Mknod(at["null"], 0x21B6, 0x103));
        Assert.Equal(0, Posix.Mknod(at["big"], 0x61B6, (0xABCUL << 8) | 0x12 | (0x345UL << 20)));
        Assert.Equal(0, Posix.Mknod(at["socket"], 0xC1B6, 0));
        Assert.Equal("1:3\nabc:34512\nsocket\nfifo\n", at.Shell("mkfifo p; stat -c %t:%T null; stat -c %t:%T big; stat -c %F socket p; echo gone >null; (echo through >p &) ; cat p >/dev/null"));
        File.WriteAllText(at["f"], "x");
        Assert.Equal(0, Posix.Utimens(at["f"], 1, 2, 3, 4));
        Assert.Equal((1_000_000_002L, 3_000_000_004L), (Posix.Stat(at["f"]).AccessNs, Posix.Stat(at["f"]).ModifyNs));
        Assert.Equal(0, Posix.Utimens(at["f"], 0, Omit, -5, 999_999_999));
        Assert.Equal((1_000_000_002L, -4_000_000_001L), (Posix.Stat(at["f"]).AccessNs, Posix.Stat(at["f"]).ModifyNs));
        long before = (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - 1000) * 1_000_000;
        Assert.Equal(0, Posix.Utimens(at["f"], 0, Now, 0, Omit));
        Assert.True(Posix.Stat(at["f"]).AccessNs > before && Posix.Stat(at["f"]).ModifyNs == -4_000_000_001L);
        Assert.Equal(-Posix.EINVAL, Posix.Utimens(at["f"], 0, 1_000_000_000, 0, 0));
        string[] space = at.Shell("stat -f -c '%S %b %f %l' .").Split(' ');
        Assert.Equal(("4096", "65536", "255"), (space[0], space[1], space[3].Trim()));
        Assert.InRange(long.Parse(space[2], CultureInfo.InvariantCulture), 60_000, 65_536);
    }
}
