// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Compression;
using System.Text;

namespace Exo.Tests;

/// <summary>A headless browser that opens a page, runs its script for some seconds of the page's own time, and tells what has become of it.</summary>
internal sealed class Chromium
{
    private readonly string _program = Requires.Program("chromium");
    private readonly string _folder;

    /// <param name="folder">Where its profile and its pictures go.</param>
    public Chromium(string folder) => _folder = folder;

    /// <summary>The document as it is in the end.</summary>
    public string Document(string url, int pageMs = 4000) => Run(url, pageMs, "--dump-dom");

    /// <summary>A picture of the page.</summary>
    public PixelImage Picture(string url, int width, int height, int pageMs = 4000)
    {
        string file = Path.Combine(_folder, $"{Guid.NewGuid():N}.png");
        Run(url, pageMs, $"--window-size={width},{height}", $"--screenshot={file}");
        return PixelImage.OfPng(File.ReadAllBytes(file));
    }

    private string Run(string url, int pageMs, params string[] what)
    {
        string profile = Directory.CreateDirectory(Path.Combine(_folder, $"{Guid.NewGuid():N}")).FullName;
        ProcessStartInfo start = new(_program)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            ArgumentList =
            {
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--hide-scrollbars", $"--user-data-dir={profile}", $"--virtual-time-budget={pageMs}",
            },
        };
        foreach (string argument in (string[])[.. what, url])
        {
            start.ArgumentList.Add(argument);
        }

        using Process browser = Process.Start(start)!;
        Task<string> error = browser.StandardError.ReadToEndAsync(CancellationToken.None);
        Task<string> output = browser.StandardOutput.ReadToEndAsync(CancellationToken.None);
        if (!browser.WaitForExit(TimeSpan.FromMinutes(2)))
        {
            browser.Kill(entireProcessTree: true);
            Assert.Fail($"Chromium did not end within two minutes.\n{error.GetAwaiter().GetResult()}");
        }

        Assert.True(browser.ExitCode == 0, error.GetAwaiter().GetResult());
        return output.GetAwaiter().GetResult();
    }
}

/// <summary>A picture as its pixels.</summary>
internal sealed class PixelImage
{
    private PixelImage(int width, int height, int[] pixels) => (Width, Height, Pixels) = (width, height, pixels);

    public int Width { get; }

    public int Height { get; }

    /// <summary>0xRRGGBB, row by row.</summary>
    public int[] Pixels { get; }

    /// <summary>The most frequent colour's part of all pixels: 1 is a blank picture.</summary>
    public double BlankPart => Pixels.CountBy(pixel => pixel).Max(colour => colour.Value) / (double)Pixels.Length;

    public int Colours => Pixels.Distinct().Count();

    /// <summary>Reads a PNG as browsers write it: eight bits a channel, not interlaced.</summary>
    public static PixelImage OfPng(ReadOnlySpan<byte> png)
    {
        Assert.True(png.StartsWith((ReadOnlySpan<byte>)[0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10]), "no PNG");
        using MemoryStream data = new();
        int width = 0, height = 0, channels = 0;
        for (int at = 8; at < png.Length;)
        {
            int length = BinaryPrimitives.ReadInt32BigEndian(png[at..]);
            ReadOnlySpan<byte> chunk = png.Slice(at + 8, length);
            switch (Encoding.ASCII.GetString(png.Slice(at + 4, 4)))
            {
                case "IHDR":
                    (width, height) = (BinaryPrimitives.ReadInt32BigEndian(chunk), BinaryPrimitives.ReadInt32BigEndian(chunk[4..]));
                    channels = (chunk[8], chunk[9], chunk[12]) switch { (8, 2, 0) => 3, (8, 6, 0) => 4, _ => throw new NotSupportedException("a PNG of another kind") };
                    break;
                case "IDAT":
                    data.Write(chunk);
                    break;
                default:
                    break;
            }

            at += length + 12;
        }

        data.Position = 0;
        using ZLibStream inflated = new(data, CompressionMode.Decompress);
        byte[] before = new byte[width * channels], row = new byte[width * channels];
        int[] pixels = new int[width * height];
        for (int y = 0; y < height; y++)
        {
            int filter = inflated.ReadByte();
            inflated.ReadExactly(row);
            for (int i = 0; i < row.Length; i++)
            {
                int left = i < channels ? 0 : row[i - channels], up = before[i], corner = i < channels ? 0 : before[i - channels];
                row[i] += (byte)(filter switch { 0 => 0, 1 => left, 2 => up, 3 => (left + up) / 2, _ => Paeth(left, up, corner) });
            }

            for (int x = 0; x < width; x++)
            {
                pixels[(y * width) + x] = (row[x * channels] << 16) | (row[(x * channels) + 1] << 8) | row[(x * channels) + 2];
            }

            (before, row) = (row, before);
        }

        return new PixelImage(width, height, pixels);
    }

    private static int Paeth(int left, int up, int corner)
    {
        int estimate = left + up - corner;
        (int toLeft, int toUp, int toCorner) = (Math.Abs(estimate - left), Math.Abs(estimate - up), Math.Abs(estimate - corner));
        return toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
    }
}
