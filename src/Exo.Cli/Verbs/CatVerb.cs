// SPDX-License-Identifier: MIT
using System.CommandLine;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Verbs;

/// <summary><c>exo cat</c>: files of an image to standard output.</summary>
internal static class CatVerb
{
    private const int BufferBytes = 1 << 20;

    public static Command Create()
    {
        Argument<string> image = Symbols.Image();
        Argument<string[]> paths = new("PATH") { Description = "Files of the image", Arity = ArgumentArity.OneOrMore };
        VerbCommand command = new("cat", "Writes files of an image to standard output, one after another.")
        {
            Examples = ["exo cat disk.img /index.html", "exo cat disk.img /logs/1 /logs/2 | wc -l"],
        };
        command.Add(image);
        command.Add(paths);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(image), parsed.GetRequiredValue(paths)));
        return command;
    }

    private static int Run(string image, string[] paths)
    {
        using CffsVolume volume = OpenImage.ReadOnly(image);
        using Stream output = Console.OpenStandardOutput();
        byte[] buffer = new byte[BufferBytes];
        foreach (string path in paths)
        {
            using CffsFile file = volume.OpenFile(Symbols.Normalise(path), CffsOpenMode.Read);
            for (long offset = 0; ;)
            {
                int count = file.Read(offset, buffer);
                if (count == 0)
                {
                    break;
                }

                output.Write(buffer.AsSpan(0, count));
                offset += count;
            }
        }

        return 0;
    }
}
