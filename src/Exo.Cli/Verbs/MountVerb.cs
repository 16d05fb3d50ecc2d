// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Diagnostics;
using Exo.Adapters.Fuse;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary>
/// <c>exo mount</c>: an image as part of the file system. The runtime cannot fork, so in the background the command runs itself again with
/// <see cref="ServeOption"/>, and returns when that one has said that the mount works.
/// </summary>
internal static class MountVerb
{
    private const string ServeOption = "--serve-in-background";
    private const string Ready = "mounted";

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string> directory = new("DIR") { Description = "Directory to mount on" };
        Option<string[]> options = new("-o") { Description = "Mount options: ro, allow_other, nodev, nosuid, noexec, nowriteback, threads=N", HelpName = "OPTIONS" };
        Option<bool> foreground = new("--foreground") { Description = "Stay in the foreground until Ctrl-C, SIGTERM or an unmount" };
        Option<long?> cache = Symbols.Size("--cache", "Memory for the cache [default: 256M]");
        Option<bool> serve = new(ServeOption) { Hidden = true };
        VerbCommand command = new("mount", "Mounts an image on a directory (FUSE).")
        {
            Examples = ["exo mount disk.img /mnt", "exo mount disk.img /mnt -o ro,allow_other", "exo mount disk.img /mnt --foreground"],
            Notes = ["The command returns when the mount works. 'exo umount DIR', 'umount DIR' or 'fusermount3 -u DIR' ends it."],
        };
        command.Add(image);
        command.Add(directory);
        command.Add(options);
        command.Add(foreground);
        command.Add(cache);
        command.Add(serve);
        command.SetAction(parsed =>
        {
            string imagePath = parsed.GetRequiredValue(image);
            FuseMountOptions mountOptions = new() { Source = Path.GetFullPath(imagePath) };
            foreach (string text in parsed.GetValue(options) ?? [])
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
                ? Serve(imagePath, parsed.GetRequiredValue(directory), mountOptions, parsed.GetValue(cache) ?? 256L << 20, inBackground)
                : RunInBackground();
        });
        return command;
    }

    private static int Serve(string image, string directory, FuseMountOptions options, long cacheBytes, bool inBackground)
    {
        using Interruption interruption = new();
        using CffsVolume volume = options.ReadOnly ? OpenImage.ReadOnly(image, cacheBytes) : OpenImage.ForWriting(image, cacheBytes);
        using FuseMount mount = FuseMount.Start(volume, directory, options);
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
            mount.Completion.Wait(interruption.Token);
        }
        catch (OperationCanceledException)
        {
            // Disposing unmounts.
        }

        return 0;
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
