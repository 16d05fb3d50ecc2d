// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Error numbers of the calls, one table on one mount.</summary>
public sealed class ErrorTests
{
    private const int O_WRONLY = 1, O_CREAT = 0x40, O_EXCL = 0x80, O_DIRECTORY = 0x10000, O_NOFOLLOW = 0x20000;

    [Fact]
    public void Each_call_fails_as_POSIX_says()
    {
        using Mounted at = new();
        File.WriteAllText(at["file"], "x");
        Assert.Equal(0, Posix.Mkdir(at["empty"]));
        Assert.Equal(0, Posix.Mkdir(at["full"]));
        File.WriteAllText(at["full/entry"], "");
        Assert.Equal(0, Posix.Symlink("loop", at["loop"]));
        string longest = new('n', 255);
        string longer = new('n', 256);
        (string What, int Result, int Expected)[] table =
        [
            ("open missing", Posix.Open(at["none"], 0), -Posix.ENOENT),
            ("open below missing", Posix.Open(at["none/a"], O_CREAT | O_WRONLY), -Posix.ENOENT),
            ("open below file", Posix.Open(at["file/a"], O_CREAT | O_WRONLY), -Posix.ENOTDIR),
            ("open exclusive", Posix.Open(at["file"], O_CREAT | O_EXCL | O_WRONLY), -Posix.EEXIST),
            ("open directory to write", Posix.Open(at["empty"], O_WRONLY), -Posix.EISDIR),
            ("open file as directory", Posix.Open(at["file"], O_DIRECTORY), -Posix.ENOTDIR),
            ("open loop", Posix.Open(at["loop"], 0), -Posix.ELOOP),
            ("open link itself", Posix.Open(at["loop"], O_NOFOLLOW), -Posix.ELOOP),
            ("open long", Posix.Open(at[longer], O_CREAT | O_WRONLY), -Posix.ENAMETOOLONG),
            ("mkdir exists", Posix.Mkdir(at["file"]), -Posix.EEXIST),
            ("mkdir long", Posix.Mkdir(at[longer]), -Posix.ENAMETOOLONG),
            ("mkdir longest", Posix.Mkdir(at[longest]), 0),
            ("rmdir longest", Posix.Rmdir(at[longest]), 0),
            ("mkdir below file", Posix.Mkdir(at["file/a"]), -Posix.ENOTDIR),
            ("rmdir full", Posix.Rmdir(at["full"]), -Posix.ENOTEMPTY),
            ("rmdir file", Posix.Rmdir(at["file"]), -Posix.ENOTDIR),
            ("rmdir missing", Posix.Rmdir(at["none"]), -Posix.ENOENT),
            ("rmdir dot", Posix.Rmdir(at["empty/."]), -Posix.EINVAL),
            ("rmdir dot dot", Posix.Rmdir(at["empty/.."]), -Posix.ENOTEMPTY),
            ("unlink missing", Posix.Unlink(at["none"]), -Posix.ENOENT),
            ("unlink directory", Posix.Unlink(at["empty"]), -Posix.EISDIR),
            ("unlink below file", Posix.Unlink(at["file/a"]), -Posix.ENOTDIR),
            ("unlink long", Posix.Unlink(at[longer]), -Posix.ENAMETOOLONG),
            ("rename missing", Posix.Rename(at["none"], at["b"]), -Posix.ENOENT),
            ("rename file over directory", Posix.Rename(at["file"], at["empty"]), -Posix.EISDIR),
            ("rename directory over file", Posix.Rename(at["empty"], at["file"]), -Posix.ENOTDIR),
            ("rename directory over full one", Posix.Rename(at["empty"], at["full"]), -Posix.ENOTEMPTY),
            ("rename below itself", Posix.Rename(at["empty"], at["empty/a"]), -Posix.EINVAL),
            ("rename long", Posix.Rename(at["file"], at[longer]), -Posix.ENAMETOOLONG),
            ("rename without replacing", Posix.Rename(at["file"], at["full/entry"], 1), -Posix.EEXIST),
            ("rename with unknown flags", Posix.Rename(at["file"], at["full/entry"], 0x80), -Posix.EINVAL),
            ("link exists", Posix.Link(at["file"], at["full/entry"]), -Posix.EEXIST),
            ("link missing", Posix.Link(at["none"], at["b"]), -Posix.ENOENT),
            ("link directory", Posix.Link(at["empty"], at["b"]), -1),
            ("symlink exists", Posix.Symlink("x", at["file"]), -Posix.EEXIST),
            ("symlink empty", Posix.Symlink("", at["b"]), -Posix.ENOENT),
            ("symlink long", Posix.Symlink(new string('t', 4096), at["b"]), -Posix.ENAMETOOLONG),
            ("symlink longest", Posix.Symlink(new string('t', 4095), at["b"]), 0),
            ("mkfifo exists", Posix.Mkfifo(at["file"]), -Posix.EEXIST),
            ("truncate directory", Posix.Truncate(at["empty"], 0), -Posix.EISDIR),
            ("truncate negative", Posix.Truncate(at["file"], -1), -Posix.EINVAL),
            ("truncate huge", Posix.Truncate(at["file"], long.MaxValue), -Posix.EFBIG),
            ("chmod missing", Posix.Chmod(at["none"], 0x1A4), -Posix.ENOENT),
        ];
        Assert.Equal(table.Select(row => (row.What, row.Expected)), table.Select(row => (row.What, row.Result)));
    }

    [Theory]
    [InlineData("io_uring,writeback")]
    [InlineData("noio_uring,writeback")]
    [InlineData("noio_uring")]
    public void Seek_finds_data_and_holes(string how)
    {
        const int SeekData = 3, SeekHole = 4, O_RDWR = 2, ENXIO = 6;
        using Mounted at = new(new FuseMountOptions().With(how));
        at.Shell("dd if=/dev/urandom of=sparse bs=4096 count=2 seek=10 conv=fsync 2>/dev/null; truncate -s 100k sparse; sync");
        int fd = Posix.Open(at["sparse"], O_RDWR);
        Assert.True(fd >= 0);
        Assert.Equal(40960, Posix.Seek(fd, 0, SeekData));
        Assert.Equal(0, Posix.Seek(fd, 0, SeekHole));
        Assert.Equal(49152, Posix.Seek(fd, 40960, SeekHole));
        Assert.Equal(-ENXIO, Posix.Seek(fd, 49152, SeekData));
        Assert.Equal(0, Posix.Close(fd));
    }
}
