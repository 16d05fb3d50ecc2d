// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>
/// Random operations: on one file against a model of it, maps included, and by several processes in one tree. <c>EXO_FSX_OPERATIONS</c> and <c>EXO_STRESS_OPERATIONS</c>
/// make the runs longer, <c>EXO_SEED</c> repeats one.
/// </summary>
public sealed class ExerciserTests(ITestOutputHelper output)
{
    private static readonly string Seed = Environment.GetEnvironmentVariable("EXO_SEED") is { Length: > 0 } given
        ? given
        : Random.Shared.Next(1, 1_000_000).ToString(CultureInfo.InvariantCulture);

    [Theory]
    [InlineData("io_uring,writeback", false)]
    [InlineData("noio_uring", false)]
    [InlineData("noio_uring,writeback,handles", true)]
    [InlineData("io_uring", true)]
    public void One_file_is_what_its_model_is(string how, bool direct)
    {
        string operations = Environment.GetEnvironmentVariable("EXO_FSX_OPERATIONS") is { Length: > 0 } given ? given : "8000";
        string program = CProgram.Compile("exerciser");
        using Mounted at = new(new FuseMountOptions().With(how), sizeBytes: 64 << 20, limit: TimeSpan.FromHours(1));
        output.WriteLine(at.Run(program, [at["f"], Seed, operations, direct ? "direct" : "cached"]));
    }

    [Theory]
    [InlineData("io_uring,writeback")]
    [InlineData("noio_uring")]
    public void A_tree_that_many_change_at_once_stays_whole(string how)
    {
        Requires.Root();
        string operations = Environment.GetEnvironmentVariable("EXO_STRESS_OPERATIONS") is { Length: > 0 } given ? given : "3000";
        string program = CProgram.Compile("stress");

        // Commits without a pause: they meet every operation half done that lets itself be met so.
        FuseMountOptions options = new FuseMountOptions { SyncInterval = TimeSpan.FromMilliseconds(1) }.With(how);
        using Mounted at = new(options, sizeBytes: 512 << 20, limit: TimeSpan.FromHours(1));
        output.WriteLine(at.Run(program, [at.Directory, Seed, operations, "4"]));
        string[] before = Contents(at);
        at.Remount();
        string[] after = Contents(at);
        Assert.Empty(before.Except(after).Concat(after.Except(before)));
    }

    // Each inode by name: contents, or what it is.
    private static string[] Contents(Mounted at) =>
        at.Shell("find . -type f -exec cksum {} + >$HOME/list; find . ! -type f -printf '%p %y %m %n %l\n' >>$HOME/list; cat $HOME/list").Split('\n');
}
