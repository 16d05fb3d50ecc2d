// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Exo.Adapters.Fuse;
using Exo.Cli.Administration;
using Exo.Cli.Output;
using Exo.Cli.Top;
using Exo.Core.Blocks.Nbd;
using Exo.FileSystems.CFFS;
using Exo.Host;

namespace Exo.Cli.Verbs;

/// <summary>
/// <c>exo mount</c>: an image as part of the file system. The runtime cannot fork, so in the background the command runs itself again with
/// <see cref="ServeOption"/>, and returns when that one has said that the mount works.
/// </summary>
internal static class MountVerb
{
    public const string Word = "mount";

    private const string ServeOption = "--serve-in-background";
    private const string Ready = "mounted";

    private static readonly string[] s_mountPrograms = ["/usr/bin/mount", "/bin/mount"];

    /// <summary>
    /// Whether the words are those of mount(8): <c>mount -t fuse.exo IMAGE DIR</c>, or a line of <c>/etc/fstab</c>, has its helper for FUSE run the program that the type names as
    /// <c>exo IMAGE DIR -o OPTIONS</c>. A verb of ours is taken for one.
    /// </summary>
    public static bool IsFromMount(Command root, string[] args) =>
        args is [var image, var directory, "-o", _, ..] && !image.StartsWith('-') && !directory.StartsWith('-') && root.Subcommands.All(verb => verb.Name != image && !verb.Aliases.Contains(image));

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string> directory = Symbols.Place("DIR", "Directory to mount on");
        Option<string[]> options = new("-o") { Description = "Mount options: ro, allow_other, nodev, nosuid, noexec, noatime, noxattr, acl, writeback, handles, loop, noloop, io_uring, noio_uring, threads=N", HelpName = "OPTIONS" };
        Option<bool> foreground = new("--foreground") { Description = "Stay in the foreground until Ctrl-C, SIGTERM or an unmount" };
        Option<long?> cache = Symbols.Cache("Memory for the cache [default: 256M]");
        Option<bool> statistics = new("--statistics") { Description = "With --foreground: at the end, how many messages of each kind the kernel has sent" };
        Option<string?> observe = Symbols.Observe();
        Option<bool> serve = new(ServeOption) { Hidden = true };
        VerbCommand command = new(Word, "Mounts an image on a directory (FUSE).")
        {
            Examples = ["exo mount disk.img /mnt", "exo mount disk.img /mnt -o ro,allow_other", "exo mount disk.img /mnt --foreground", "exo mount disk.img /mnt -o io_uring"],
            Notes =
            [
                "The command returns when the mount works. 'exo umount DIR', 'umount DIR' or 'fusermount3 -u DIR' ends it.",
                "Where 'exo' is on the path, 'mount -t fuse.exo IMAGE DIR' does the same, and so does a line of /etc/fstab with this type. -o remount,ro and remount,rw change a mount.",
                "Meanwhile 'exo snapshot', 'resize', 'defrag', 'df' and 'xcp' are carried out by the process that has the image mounted, for its user and the superuser.",
                "Root's mount is from a loop device over the image where one can be had (loop, noloop), so that sync and umount wait until everything is durable; nothing is read or written through it.",
                "io_uring is faster than /dev/fuse; by default it is used where the kernel offers it (/sys/module/fuse/parameters/enable_uring), and to root always (Linux 6.14 and later).",
                "acl brings POSIX access control lists (setfacl, getfacl, rsync -A), for a message for each file that somebody else than its owner opens first; noxattr saves a message for each new file; writeback gains where much is written in small pieces; handles tells of every opening, as older kernels do.",
            ],
        };
        command.Add(image);
        command.Add(directory);
        command.Add(options);
        command.Add(foreground);
        command.Add(cache);
        command.Add(statistics);
        command.Add(observe);
        command.Add(serve);
        command.SetAction(parsed =>
        {
            string imagePath = parsed.GetRequiredValue(image);
            string[] given = parsed.GetValue(options) ?? [];
            if (given.SelectMany(text => text.Split(',')).Contains("remount"))
            {
                return Remount(parsed.GetRequiredValue(directory), string.Join(',', given), s_mountPrograms);
            }

            FuseMountOptions mountOptions = new() { Source = NbdUri.IsNbd(imagePath) ? imagePath : Path.GetFullPath(imagePath) };
            foreach (string text in given)
            {
                try
                {
                    mountOptions = mountOptions.With(text);
                }
                catch (FormatException unknown)
                {
                    throw new UsageException(unknown.Message);
                }
            }

            bool inBackground = parsed.GetValue(serve);
            return inBackground || parsed.GetValue(foreground)
                ? Serve(imagePath, parsed.GetRequiredValue(directory), mountOptions, parsed.GetValue(cache) ?? 256L << 20, inBackground, parsed.GetValue(statistics), parsed.GetValue(observe))
                : RunInBackground();
        });
        return command;
    }

    private static int Serve(string image, string directory, FuseMountOptions options, long cacheBytes, bool inBackground, bool showStatistics, string? observePath)
    {
        using Interruption interruption = new();
        using MountedDirectory? held = MountedDirectory.Hold(directory);
        using CffsVolume volume = options.ReadOnly ? OpenImage.ReadOnly(image, cacheBytes) : OpenImage.ForWriting(image, cacheBytes);
        using FuseMount mount = FuseMount.Start(volume, directory, options);
        using ObservationServer? observed = Observation.Start(observePath, $"exo mount {image}", volume.Frames, volume.Disk, () => [.. mount.CountMessages().Select(kind => new CounterSnapshot($"messages: {kind.Message}", kind.Count))]);
        using MountAdministration? administration = MountAdministration.Start(volume, mount);
        if (inBackground)
        {
            Console.WriteLine(Ready);
            Terminal.Leave();
        }
        else
        {
            Console.WriteLine($"{image} is mounted on {mount.Directory}");
        }

        try
        {
            // Either ends with an error only if it has met a bug.
            Task.WhenAny(mount.Completion, administration?.Broken ?? mount.Completion).Unwrap().Wait(interruption.Token);
        }
        catch (OperationCanceledException)
        {
            // Disposing unmounts.
        }

        if (showStatistics && !inBackground)
        {
            administration?.Dispose();
            mount.Dispose();
            foreach (FuseMessageCount kind in mount.CountMessages())
            {
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{kind.Count,12} {kind.Message}"));
            }
        }

        return 0;
    }

    /// <summary>What a remount changes is the kernel's alone. mount(8) does it, without the helper that would ask us again.</summary>
    /// <param name="directory">Where it is mounted.</param>
    /// <param name="options">As they were given, with "remount".</param>
    /// <param name="programs">Where mount(8) may be, by its place: the helper runs without a path.</param>
    internal static int Remount(string directory, string options, string[] programs)
    {
        string program = programs.FirstOrDefault(File.Exists) ?? throw new IOException($"{directory}: a remount takes mount(8), and there is no {string.Join(" and no ", programs)}");
        using Process mount = Process.Start(new ProcessStartInfo(program, ["-i", "-o", options, directory]) { RedirectStandardError = true })!;
        string said = mount.StandardError.ReadToEnd();
        mount.WaitForExit();
        return mount.ExitCode == 0 ? 0 : throw new IOException(said.Split('\n')[0]);
    }

    private static int RunInBackground()
    {
        string program = Environment.ProcessPath ?? throw new IOException("this program does not know its own path; use --foreground");
        string[] line = Environment.GetCommandLineArgs();
        ProcessStartInfo start = new(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
        {
            start.ArgumentList.Add("exec");
            start.ArgumentList.Add(Path.ChangeExtension(Path.GetFullPath(line[0]), ".dll"));
        }

        foreach (string argument in line.Skip(1))
        {
            start.ArgumentList.Add(argument);
        }

        start.ArgumentList.Add(ServeOption);
        using Process serving = Process.Start(start)!;
        if (serving.StandardOutput.ReadLine() == Ready)
        {
            return 0;
        }

        // It has said why. Its standard error is not shared with this process: it would keep whoever reads ours waiting for as long as the mount lasts.
        Console.Error.Write(serving.StandardError.ReadToEnd());
        serving.WaitForExit();
        return serving.ExitCode == 0 ? ExoCommand.Failed : serving.ExitCode;
    }
}
