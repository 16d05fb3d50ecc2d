// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>
/// Files that are open when they lose their names. Without handles the kernel does not say what it has open: what it knows stays, until it says that it has forgotten.
/// </summary>
public sealed class UnnamedTests
{
    private const int O_RDWR = 2, O_CREAT = 0x40, O_EXCL = 0x80;

    [Theory]
    [InlineData("io_uring")]
    [InlineData("noio_uring")]
    [InlineData("noio_uring,writeback,handles")]
    public void A_file_without_a_name_is_a_file(string how)
    {
        using Mounted at = new(new FuseMountOptions().With(how));
        byte[] bytes = new byte[100_000];
        new Random(1).NextBytes(bytes);
        int fd = Posix.Open(at["f"], O_RDWR | O_CREAT);
        Assert.Equal(bytes.Length, Posix.Write(fd, bytes, 0));
        Assert.Equal(0, Posix.Unlink(at["f"]));
        Assert.Equal(-Posix.ENOENT, Posix.Open(at["f"], O_RDWR));

        // Its name is free, for a file that is another, before and after all is durable.
        int second = Posix.Open(at["f"], O_RDWR | O_CREAT | O_EXCL);
        Assert.Equal(3, Posix.Write(second, [1, 2, 3], 0));
        Assert.Equal(0, Posix.Fsync(second));
        Assert.Equal(0, Posix.Unlink(at["f"]));
        Assert.Equal(0, Posix.Fsync(fd));
        Assert.Equal(0, Posix.Link(Named(at, "g"), at["f"]));
        Assert.Equal(0, Posix.Rename(at["g"], at["f"]));
        Assert.Equal([1, 2, 3], Posix.Read(second, 0, 10));
        Assert.Equal(bytes, Posix.Read(fd, 0, bytes.Length + 1));

        // It grows, shrinks, and is read again.
        Assert.Equal(5, Posix.Write(fd, [9, 9, 9, 9, 9], 200_000));
        Assert.Equal(0, Posix.Ftruncate(fd, 200_003));
        Assert.Equal([9, 9, 9], Posix.Read(fd, 200_000, 10));
        Assert.Equal(0, Posix.Close(fd));
        Assert.Equal(0, Posix.Close(second));
        Assert.Equal("f\ng\n", at.Shell("ls"));
    }

    [Theory]
    [InlineData("io_uring")]
    [InlineData("noio_uring")]
    public void Its_directory_can_go_and_its_room_comes_back(string how)
    {
        using Mounted at = new(new FuseMountOptions().With(how), sizeBytes: 32 << 20);
        Assert.Equal("whole\n", at.Shell("""
            free() { sync; stat -f -c %f .; }
            before=$(free); mkdir d; head -c 5000000 /dev/urandom > d/f; cp d/f copy; exec 3<>d/f; rm d/f; rmdir d
            cmp copy /proc/self/fd/3 && echo whole; rm copy; exec 3>&-
            for i in 1 2 3 4 5 6 7 8 9; do test "$(free)" -lt $((before - 64)) || break; done; test "$(free)" -ge $((before - 64))
            """));
    }

    [Theory]
    [InlineData("io_uring")]
    [InlineData("noio_uring")]
    public void On_a_full_volume_names_go_all_the_same(string how)
    {
        using Mounted at = new(new FuseMountOptions().With(how), sizeBytes: 16 << 20);
        at.Shell("""
            mkdir d; for i in $(seq 50); do echo $i > d/$i; done; (dd if=/dev/zero of=big bs=64k 2>/dev/null || true); (while echo x > small$((n=n+1)); do :; done) 2>/dev/null || true; sync
            exec 3<d/1; rm d/*; test -z "$(ls d)"; test "$(cat <&3)" = 1; exec 3>&-; rmdir d
            rm big small*; head -c 8000000 /dev/zero > again
            """);
    }

    private static string Named(Mounted at, string name)
    {
        File.WriteAllBytes(at[name], [7]);
        return at[name];
    }
}
