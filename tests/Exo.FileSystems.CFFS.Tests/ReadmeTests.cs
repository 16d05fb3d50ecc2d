// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Exo.FileSystems.CFFS.Tests;

/// <summary>The package page's samples are these methods' texts, and they run.</summary>
public sealed class ReadmeTests : IDisposable
{
    private static readonly Output Console = new();
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public void Dispose() => File.Delete(_image);

    [Fact]
    public async Task The_samples_do_what_they_say()
    {
        Begin(_image);
        using (CffsVolume volume = CffsVolume.Open(_image))
        {
            Offsets(volume);
            Directories(volume);
            Handles(volume);
            Identities(volume);
            Watch(volume);
        }

        await Async(_image, TestContext.Current.CancellationToken);
        Check(_image);
        Assert.Equal(
            [
                "Hello again!", "4004", "a: 100 bytes, 2 names", "65536 131072", "1048576", "6", "NotFound", "Created today", "Created today/letter", "Renamed read", "2", "True", "0",
            ],
            Console.Lines);
    }

    [Fact]
    public void The_samples_on_the_page_are_the_ones_that_run()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.FileSystems.CFFS/README.md"));
        string[] samples = [.. Regex.Matches(page, "```csharp\n(.*?)```", RegexOptions.Singleline)
            .Select(match => match.Groups[1].Value.Replace("\"disk.img\"", "image", StringComparison.Ordinal))];
        string[] methods = [.. Regex.Matches(File.ReadAllText(here), "        // sample\n(.*?)        // end", RegexOptions.Singleline).Select(match => match.Groups[1].Value)];
        Assert.Equal(samples.Length, methods.Length);
        for (int i = 0; i < samples.Length; i++)
        {
            Assert.Equal(Lines(samples[i]), Lines(methods[i]));
        }
    }

    private static void Begin(string image)
    {
        // sample
        using (CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = 64 << 20 }))
        {
            volume.CreateDirectory("notes");
            volume.WriteAllBytes("notes/hello.txt", "Hello, exokernel!"u8.ToArray());
            volume.ReplaceAllBytes("notes/hello.txt", "Hello again!"u8.ToArray());   // a crash leaves the old contents or the new ones
            volume.Sync();                                                          // from here on it is there, whatever happens
        }

        using (CffsVolume volume = CffsVolume.Open(image))
        {
            using Stream stream = volume.OpenFile("notes/hello.txt").AsStream();
            using StreamReader reader = new(stream);
            Console.WriteLine(reader.ReadToEnd());
        }
        // end
    }

    private static void Offsets(CffsVolume volume)
    {
        // sample
        using CffsFile file = volume.OpenFile("/log", CffsOpenMode.Read | CffsOpenMode.Write | CffsOpenMode.Create);
        file.Write(0, new byte[4000]);
        long at = file.Append("tail"u8.ToArray());           // appends of several threads do not overlap
        Span<byte> tail = stackalloc byte[4];
        int read = file.Read(at, tail);                       // from the cache: nothing allocated
        if (file.TryLease(0, 4004, out CffsSpanLease lease))  // the cache's own bytes, not a copy
        {
            using (lease)
            {
                Console.WriteLine(lease.Bytes.Length);
            }
        }

        file.Sync();                                          // fsync: this file and its name are durable
        // end
    }

    private static async Task Async(string image, CancellationToken stopping)
    {
        // sample
        await using CffsVolume volume = await CffsVolume.OpenAsync(image, cancellationToken: stopping);
        await volume.ReplaceAllBytesAsync("/settings.json", "{}"u8.ToArray(), durable: true, cancellationToken: stopping);
        byte[] settings = await volume.ReadAllBytesAsync("/settings.json", cancellationToken: stopping);
        Console.WriteLine(settings.Length);
        // end
    }

    private static void Directories(CffsVolume volume)
    {
        // sample
        volume.CreateDirectories("/mail/2026/11");
        volume.WriteAllBytes("/mail/2026/11/a", new byte[100]);
        volume.CreateHardLink("/mail/2026/11/a", "/mail/first");
        volume.CreateSymbolicLink("/latest", "mail/2026/11");
        using CffsDirectory directory = volume.OpenDirectory("/latest");
        using CffsDirectoryReader entries = directory.Read();
        while (entries.Next())                              // a million entries allocate no more than one
        {
            Console.WriteLine($"{Encoding.UTF8.GetString(entries.Name)}: {entries.Stat().Size} bytes, {entries.Stat().Links} names");
        }

        volume.Rename("/mail/2026/11/a", "/mail/2026/11/b"); // atomic; replaces what has the name
        volume.RemoveFile("/mail/first");
        // end
    }

    private static void Handles(CffsVolume volume)
    {
        // sample
        using (CffsFile draft = volume.CreateUnnamedFile("/"))           // O_TMPFILE: nobody finds it, and a crash takes it away
        {
            draft.Allocate(0, 1 << 20);                                  // a mebibyte that a full volume cannot refuse later
            draft.Write(0, "first"u8.ToArray());
            draft.PunchHole(64 << 10, 64 << 10);                         // reads as zeros from here on, and takes no blocks
            Console.WriteLine($"{draft.SeekHole(0)} {draft.SeekData(64 << 10)}");
            draft.SetAttributes(new CffsAttributeChange { Permissions = 0x180 });
            draft.SetExtendedAttribute("user.kind", "report"u8.ToArray());
            draft.CreateHardLink("/report");                             // now it is there, with all that
        }

        ulong inode = volume.Stat("/report").Inode;                      // stays, whatever the file is called, and is never given again
        volume.WriteAllBytes("/report.new", "second"u8.ToArray());
        volume.Exchange("/report", "/report.new");                       // the names change places
        using CffsFile first = volume.OpenFileByInode(inode);
        Console.WriteLine(first.Length);
        // end
    }

    private static void Identities(CffsVolume volume)
    {
        // sample
        volume.CreateDirectories("/sites/example.org");
        volume.WriteAllBytes("/sites/example.org/page", "public"u8.ToArray());
        volume.WriteAllBytes("/secret", "mine"u8.ToArray(), permissions: 0x180);
        using CffsDirectory site = volume.OpenDirectory("/sites/example.org");
        CffsIdentity guest = site.Confine(new CffsIdentity(65534, 65534));   // sees nothing but what is beneath the directory
        Console.WriteLine(volume.Stat("/page", identity: guest).Size);
        try
        {
            volume.ReadAllBytes("/../../secret", guest);
        }
        catch (CffsException refused)
        {
            Console.WriteLine(refused.Error);
        }
        // end
    }

    private static void Watch(CffsVolume volume)
    {
        // sample
        volume.CreateDirectories("/inbox");
        using CffsWatch watch = volume.Watch("/inbox", subtree: true);
        volume.CreateDirectory("/inbox/today");
        volume.WriteAllBytes("/inbox/today/letter", "..."u8.ToArray());
        volume.Rename("/inbox/today/letter", "/inbox/read");
        while (watch.TryRead(out CffsChange change))         // or: await foreach (CffsChange change in watch.ReadAllAsync())
        {
            Console.WriteLine($"{change.Kind} {change.PathString}");
        }
        // end
    }

    private static void Check(string image)
    {
        // sample
        using (CffsVolume volume = CffsVolume.Open(image, new CffsOpenOptions { CacheBytes = 16 << 20, ReadOnly = true }))
        {
            Console.WriteLine(volume.GetSpace().FreeBlocks > 0);
        }

        CffsCheckReport report = CffsCheck.Run(image);
        Console.WriteLine(report.Findings.Count);
        // end
    }

    private static string[] Lines(string text) => [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];

    private static string ThisFile([CallerFilePath] string path = "") => path;

    private sealed class Output
    {
        public List<string> Lines { get; } = [];

        public void WriteLine(object value) => Lines.Add(value.ToString()!);
    }
}
