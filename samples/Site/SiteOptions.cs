// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using System.Net;
using Exo.Cli.Arguments;
using Exo.Cli.Output;

namespace Site;

/// <summary>What the command line asks for.</summary>
/// <param name="Image">The image file.</param>
/// <param name="SizeBytes">Size of a new image; null: twice the folder, at least 64 MiB.</param>
/// <param name="Content">The folder that goes into it.</param>
/// <param name="Listen">Where to serve.</param>
/// <param name="IsFresh">Rebuild the image even if it is there.</param>
internal sealed record SiteOptions(string Image, long? SizeBytes, string Content, IPEndPoint Listen, bool IsFresh)
{
    public static SiteOptions? Parse(string[] args, out int exitCode)
    {
        Option<string> image = new("--image") { Description = "The image file", HelpName = "FILE", DefaultValueFactory = _ => DefaultImage() };
        Option<string> size = new("--size") { Description = "Size of a new image [default: twice the folder, at least 64M]", HelpName = "SIZE" };
        Option<string> content = new("--content")
        {
            Description = "The folder to serve [default: pages that explain Exo]",
            HelpName = "DIR",
        };
        Option<string> listen = new("--listen") { Description = "Where to serve", HelpName = "ADDR:PORT", DefaultValueFactory = _ => "127.0.0.1:8080" };
        Option<bool> fresh = new("--fresh") { Description = "Make the image anew, even if it is there" };
        RootCommand command = new("Puts a folder into a raw disk image and serves it from there.") { image, size, content, listen, fresh };
        ParseResult parsed = command.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Action is HelpAction || parsed.GetResult("--version") is OptionResult { Implicit: false })
        {
            exitCode = parsed.Invoke();
            return null;
        }

        exitCode = 2;
        if (parsed.Errors.Count > 0)
        {
            return Refuse(parsed.Errors[0].Message);
        }

        long? sizeBytes = null;
        if (parsed.GetValue(size) is { } sizeText)
        {
            if (!ByteSize.TryParse(sizeText, out long bytes))
            {
                return Refuse($"--size: '{sizeText}' is not a size; write 64M or 1G");
            }

            sizeBytes = bytes / 4096 * 4096;
        }

        string address = parsed.GetRequiredValue(listen);
        if (!ListenAddress.TryParse(address, out IPEndPoint endPoint))
        {
            return Refuse($"--listen: '{address}' is not ADDR:PORT; write 127.0.0.1:8080");
        }

        return new SiteOptions(
            Path.GetFullPath(parsed.GetRequiredValue(image)),
            sizeBytes,
            Path.GetFullPath(parsed.GetValue(content) ?? Path.Combine(AppContext.BaseDirectory, "content")),
            endPoint,
            parsed.GetValue(fresh));
    }

    // Where the XDG base directory specification puts what should outlive a restart but is nobody's document.
    private static string DefaultImage()
    {
        string? state = Environment.GetEnvironmentVariable("XDG_STATE_HOME");
        if (string.IsNullOrEmpty(state) || !Path.IsPathRooted(state))
        {
            string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
            state = home.Length > 0 ? Path.Combine(home, ".local", "state") : Path.GetTempPath();
        }

        return Path.Combine(state, "exo", "site.img");
    }

    private static SiteOptions? Refuse(string message)
    {
        Console.Error.WriteLine($"site: {OneLine.Of(message)} (see --help)");
        return null;
    }
}
