// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Net;
using Exo.Cli.Arguments;
using Exo.Cli.Output;
using Exo.FileSystems.CFFS;
using Spectre.Console;

namespace Site;

/// <summary>What the sample tells: how long each step took, what is where on the disk, and the address.</summary>
internal sealed class SiteReport(SiteOptions options)
{
    private readonly List<(string Step, TimeSpan Time)> _steps = [];
    private readonly List<string> _notes = [];

    /// <summary>Runs a step and remembers how long it took; a bar appears when that is more than half a second.</summary>
    public T Time<T>(string step, Func<T> work)
    {
        T result = default!;
        Time(step, _ => { result = work(); });
        return result;
    }

    public void Time(string step, Action work) => Time(step, _ => work());

    public void Time(string step, Action<StepCounts> work)
    {
        StepCounts counts = new();
        Stopwatch clock = Stopwatch.StartNew();
        StepProgress.Run(step, counts, () =>
        {
            work(counts);
            return true;
        });
        _steps.Add((step, clock.Elapsed));
    }

    public void Note(string text) => _notes.Add(text);

    public void Print(CffsVolume volume, IPEndPoint endPoint)
    {
        CffsSpace space = volume.GetSpace();
        string size = ByteSize.Format((long)space.TotalBlocks * CffsSpace.BlockBytes);
        string free = ByteSize.Format((long)space.FreeBlocks * CffsSpace.BlockBytes);
        Console.WriteLine($"image {options.Image}: {size}, {free} free");
        foreach (string note in _notes)
        {
            Console.WriteLine($"note: {note}");
        }

        Console.WriteLine();
        BlockPicture.Print(volume);
        Console.WriteLine();
        Grid steps = new Grid().AddColumn().AddColumn(new GridColumn().RightAligned());
        foreach ((string step, TimeSpan time) in _steps)
        {
            steps.AddRow(new Text(step), new Text(string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:N1} ms")));
        }

        AnsiConsole.Write(steps);
        Console.WriteLine();
        Console.WriteLine($"serving http://{endPoint}/   (Ctrl-C ends)");
    }
}
