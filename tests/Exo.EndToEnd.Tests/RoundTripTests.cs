// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>What goes in comes out: contents, modes, owners, times, links, and names of any bytes.</summary>
public sealed class RoundTripTests
{
    private const int FilesMax = 8000;
    private const long BytesMax = 200L << 20;

    [Fact]
    public void Import_then_export_gives_the_same_tree()
    {
        using TempFolder folder = new();
        string source = Directory.CreateDirectory(folder["source"]).FullName;
        int files = CopyPartOf("/usr/share", source, 0);
        files = CopyPartOf("/usr/lib", source, files);
        MakeOddNames(Directory.CreateDirectory(Path.Combine(source, "odd")).FullName);
        Assert.True(files > 200, $"only {files} files to try with");

        string[] before = HostTreeManifest.Read(source);
        ExoProcess.Exo("mkfs", folder["disk.img"], "--size", "1G").Succeeded();
        ExoProcess.Exo("import", folder["disk.img"], source).Succeeded();
        ExoProcess.Exo("fsck", folder["disk.img"]).Succeeded();
        ExoProcess.Exo("export", folder["disk.img"], folder["out"]).Succeeded();
        string[] after = HostTreeManifest.Read(folder["out"]);

        string[] missing = [.. before.Except(after).Take(5)];
        string[] extra = [.. after.Except(before).Take(5)];
        Assert.True(missing.Length == 0 && extra.Length == 0, $"was:\n{string.Join('\n', missing)}\nis:\n{string.Join('\n', extra)}");
        Assert.Equal(before.Length, after.Length);
    }

    [Fact]
    public void A_second_import_replaces_files_and_merges_directories()
    {
        using TempFolder folder = new();
        string source = Directory.CreateDirectory(folder["source"]).FullName;
        MakeOddNames(source);
        ExoProcess.Exo("mkfs", folder["disk.img"], "--size", "64M").Succeeded();
        ExoProcess.Exo("import", folder["disk.img"], source, "--to", "/a/b").Succeeded();
        File.WriteAllText(Path.Combine(source, "plain"), "changed");
        ExoProcess.Exo("import", folder["disk.img"], source, "--to", "/a/b").Succeeded();
        ExoProcess.Exo("fsck", folder["disk.img"]).Succeeded();
        ExoProcess.Exo("export", folder["disk.img"], folder["out"], "--from", "/a/b").Succeeded();
        Assert.Equal(HostTreeManifest.Read(source), HostTreeManifest.Read(folder["out"]));
    }

    [Fact]
    public void More_than_the_cache_holds_goes_in_and_comes_out()
    {
        const long LengthBytes = (256L << 20) + (40L << 20) + 123; // the import's cache and more
        using TempFolder folder = new();
        string source = Directory.CreateDirectory(folder["source"]).FullName;
        HostTreeManifest.Run(source, $"truncate -s {LengthBytes} large && printf end >> large");
        ExoProcess.Exo("mkfs", folder["disk.img"], "--size", "512M").Succeeded();
        ExoProcess.Exo("import", folder["disk.img"], source).Succeeded();
        ExoProcess.Exo("fsck", folder["disk.img"]).Succeeded();
        ExoProcess.Exo("export", folder["disk.img"], folder["out"]).Succeeded();
        Assert.Equal(HostTreeManifest.Read(source), HostTreeManifest.Read(folder["out"]));
    }

    // Whole folders of the machine's own, as many as fit: real names, links and modes.
    private static int CopyPartOf(string root, string target, int files)
    {
        if (!Directory.Exists(root))
        {
            return files;
        }

        long bytes = 0;
        EnumerationOptions all = new() { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None };
        foreach (string child in Directory.GetDirectories(root).Order(StringComparer.Ordinal))
        {
            if (new DirectoryInfo(child).LinkTarget is not null)
            {
                continue;
            }

            FileInfo[] found = [.. new DirectoryInfo(child).EnumerateFiles("*", all).Take(FilesMax + 1)];
            long size = found.Sum(file => file.LinkTarget is null ? file.Length : 0);
            if (found.Length == 0 || files + found.Length > FilesMax || bytes + size > BytesMax / 2)
            {
                continue;
            }

            HostTreeManifest.Run(target, $"cp -a -- '{child}' ./{Path.GetFileName(root)}-{Path.GetFileName(child)}");
            files += found.Length;
            bytes += size;
        }

        return files;
    }

    private static void MakeOddNames(string folder)
    {
        HostTreeManifest.Run(
            folder,
            """
            echo plain > plain
            printf x > $'not utf-8 \xff\xfe'
            printf y > $'two\nlines'
            printf z > $'tab\there'
            printf s > ' spaces at both ends '
            printf b > 'back\slash'
            printf d > '-dash'
            printf q > "quote'\"s"
            printf n > "$(printf 'n%.0s' $(seq 255))"
            : > empty
            mkdir -p $'d\xe9ep/a/b/c' && echo deep > $'d\xe9ep/a/b/c/file'
            mkdir 'empty directory'
            head -c 1000000 /dev/urandom > million
            head -c 4096 /dev/urandom > block
            head -c 4097 /dev/urandom > 'block and one'
            truncate -s 3000000 sparse && printf end >> sparse
            ln -s plain link
            ln -s nowhere dangling
            ln -s "$(printf 'long/%.0s' $(seq 200))" 'long link'
            ln -s $'\xff\n' 'odd link'
            ln plain 'hard link'
            ln plain $'d\xe9ep/hard too'
            mkfifo queue
            cp plain set-user && chmod 6755 set-user
            chmod 000 block
            mkdir sticky && chmod 1777 sticky
            touch -d '1969-12-31 23:59:58.123456789 UTC' 'before the epoch'
            touch -h -d '2001-02-03 04:05:06.000000001 UTC' link
            touch -d '2038-01-20 00:00:00.999999999 UTC' empty
            """);
        if (Environment.IsPrivilegedProcess)
        {
            HostTreeManifest.Run(
                folder,
                """
                touch owned && chown 12345:54321 owned && chmod 4711 owned
                chown -h 7:8 dangling
                mknod null c 1 3 || true
                """);
        }

        HostTreeManifest.Run(folder, "touch -d '2020-02-02 02:02:02.020202020 UTC' 'empty directory' sticky");
    }
}
