// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Cli.Output;

/// <summary>The terminal, and everything else that a program in the background must not hold on to.</summary>
internal static unsafe class Terminal
{
    /// <summary>Goes on in a session of its own, with standard input, output and error on /dev/null, in the root directory.</summary>
    public static void Leave()
    {
        Console.Out.Flush();
        Libc.StartSession();
        Directory.SetCurrentDirectory("/");
        int nothing;
        fixed (byte* path = "/dev/null\0"u8)
        {
            nothing = Libc.Open(path, 2, 0);
        }

        for (int standard = 0; standard <= 2 && nothing >= 0; standard++)
        {
            Libc.Duplicate(nothing, standard);
        }

        if (nothing > 2)
        {
            Libc.Close(nothing);
        }
    }
}
