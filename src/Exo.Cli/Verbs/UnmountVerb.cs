// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.Adapters.Fuse;

namespace Exo.Cli.Verbs;

/// <summary><c>exo umount</c>: ends a mount. The process that served it writes everything and closes the image; with that the command returns.</summary>
internal static class UnmountVerb
{
    private static readonly TimeSpan WaitMax = TimeSpan.FromMinutes(1);

    public static Command Create()
    {
        Argument<string> directory = Symbols.Place("DIR", "Where the image is mounted");
        Option<bool> lazy = new("--lazy") { Description = "Detach it although it is in use; it ends with its last user" };
        VerbCommand command = new("umount", "Unmounts an image and waits until it is closed.")
        {
            Examples = ["exo umount /mnt", "exo umount --lazy /mnt"],
        };
        command.Add(directory);
        command.Add(lazy);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(directory), parsed.GetValue(lazy)));
        return command;
    }

    private static int Run(string directory, bool lazily)
    {
        string image = FuseMount.Unmount(directory, lazily);
        if (lazily)
        {
            return 0;
        }

        // exo mount holds the directory until the image is closed; another program that mounts has at least locked the file it writes.
        long start = Environment.TickCount64;
        while (MountedDirectory.IsHeld(directory) || IsLocked(image))
        {
            if (Environment.TickCount64 - start > (long)WaitMax.TotalMilliseconds)
            {
                throw new IOException($"{image} is still being written");
            }

            Thread.Sleep(10);
        }

        return 0;
    }

    private static bool IsLocked(string image)
    {
        try
        {
            using FileStream? free = File.Exists(image) ? new(image, FileMode.Open, FileAccess.Read, FileShare.None) : null;
            return false;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
        catch (IOException)
        {
            return true;
        }
    }
}
