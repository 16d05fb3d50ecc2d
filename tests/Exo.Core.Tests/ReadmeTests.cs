// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Predicates;
using Exo.Core.Tests.Blocks;

namespace Exo.Core.Tests;

/// <summary>The package page's sample is this method's text, and it runs.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public async Task The_sample_does_what_it_says()
    {
        string image = TestDisk.NewPath();
        try
        {
            Assert.Matches("^42 through (io_uring|pread), direct: (True|False)$", await Sample(image));
        }
        finally
        {
            File.Delete(image);
        }
    }

    [Fact]
    public void The_sample_on_the_page_is_the_one_that_runs()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Core/README.md"));
        string code = File.ReadAllText(here);
        string sample = Regex.Match(page, "```csharp\n(.*?)```", RegexOptions.Singleline).Groups[1].Value.Replace("\"disk.img\"", "image", StringComparison.Ordinal);
        string method = Regex.Match(code, "// sample\n(.*?)// end", RegexOptions.Singleline).Groups[1].Value;
        Assert.Equal(Lines(sample.Replace("Console.WriteLine(", "return ", StringComparison.Ordinal).Replace("}\");", "}\";", StringComparison.Ordinal)), Lines(method));
    }

    [Fact]
    public async Task The_second_sample_is_the_one_on_the_page_and_does_what_it_says()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Core/README.md"));
        string sample = Regex.Matches(page, "```csharp\n(.*?)```", RegexOptions.Singleline)[1].Groups[1].Value;
        string method = Regex.Match(File.ReadAllText(here), "// second sample\n(.*?)// end of it", RegexOptions.Singleline).Groups[1].Value;
        Assert.Equal(Lines(sample.Replace("Console.WriteLine(", "return ", StringComparison.Ordinal).Replace("}\");", "}\";", StringComparison.Ordinal)), Lines(method));
        Assert.Equal("woken by product 1", await SecondSample());
    }

    private static async Task<string> SecondSample()
    {
        // second sample
        using FramePool frames = FramePool.Create();
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        using ExoEnvironment worker = root.CreateChild([1], new EnvironmentQuotas { Frames = 8 });

        worker.TryAllocateFrame(frames, out FrameNumber mailbox);
        SecureBinding<Frame> frame = frames.Bind(worker.Credential, mailbox, Rights.Write);
        using WakeupPredicate mail = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(frame, 0).NotEqualTo(0)));
        ValueTask<ulong> sleep = worker.SleepUntil(mail);     // costs nothing until somebody writes there

        using (BindingUse<Frame> use = frame.Use(Rights.Write))
        {
            use.WritableBytes()[0] = 1;
        }                                                     // the end of the use rings
        return $"woken by product {await sleep}";
        // end of it
    }

    private static async Task<string> Sample(string image)
    {
        // sample
        using FramePool frames = FramePool.Create();
        using BlockDevice disk = BlockDevice.Open(image, frames, new BlockDeviceOptions { Create = true, CreateBytes = 64 << 20 });

        frames.TryAllocateRun(frames.RootCredential, count: 2, out FrameNumber first);
        FrameNumber[] two = [first, new FrameNumber(first.Value + 1)];
        frames.Bytes(first, 2).Fill(42);

        disk.Execute([BlockRequest.Write(new BlockNumber(7), two)]);     // on this thread, one system call
        disk.Flush();                                                    // now it is durable

        frames.Bytes(first, 2).Clear();
        await disk.ExecuteAsync(new[] { BlockRequest.Read(new BlockNumber(7), two) });
        return $"{frames.Bytes(first)[0]} through {disk.Geometry.Driver}, direct: {disk.Geometry.IsDirect}";
        // end
    }

    private static string[] Lines(string text) =>
        [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
