// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Exo.Tests;

/// <summary>An image, and a directory on which a test has the command mount it. At the end it is unmounted whatever happened.</summary>
internal sealed class ImageToMount : IDisposable
{
    private readonly TempFolder _folder = new();

    /// <param name="isFormatted">False: the test makes the image.</param>
    public ImageToMount(bool isFormatted = true)
    {
        Requires.File("/dev/fuse");
        Requires.Root();
        Image = _folder["disk.img"];
        Directory = _folder["mnt"];
        System.IO.Directory.CreateDirectory(Directory);
        if (isFormatted)
        {
            ExoProcess.Exo("mkfs", Image, "--size", "64M").Succeeded();
        }
    }

    public string Image { get; }

    public string Directory { get; }

    /// <summary>The folder of both.</summary>
    public string Folder => _folder.Path;

    /// <summary>A file beside the image.</summary>
    public string Beside(string name) => _folder[name];

    /// <summary>A file of the mount.</summary>
    public string this[string name] => Path.Combine(Directory, name);

    public void Dispose()
    {
        using Process last = Process.Start(new ProcessStartInfo("umount", ["-f", "-l", Directory]) { RedirectStandardError = true })!;
        bool hasEnded = last.WaitForExit(TimeSpan.FromSeconds(10));
        _folder.Dispose();
        Assert.True(hasEnded, "umount did not end");
    }
}
