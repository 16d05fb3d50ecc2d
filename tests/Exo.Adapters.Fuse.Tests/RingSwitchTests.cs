// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse.Mounting;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>The superuser's mount uses io_uring, and leaves the kernel's parameter as it was.</summary>
public sealed class RingSwitchTests
{
    [Fact]
    public void The_parameter_is_on_for_the_moment_of_mounting_only()
    {
        Requires.Root();
        Requires.That(FuseRingSwitch.IsThere, "FUSE over io_uring is not there");
        bool wasOn;
        using (FuseRingSwitch on = FuseRingSwitch.TrySwitchOn()!)
        {
            wasOn = on.WasOn;
            Assert.True(FuseRingSwitch.IsOn);
        }

        using Mounted at = new();
        Assert.True(at.Mount.UsesIoUring);
        using (FuseRingSwitch on = FuseRingSwitch.TrySwitchOn()!)
        {
            Assert.Equal(wasOn, on.WasOn);
        }

        File.WriteAllText(at["f"], "over the ring");
        Assert.Equal("over the ring", File.ReadAllText(at["f"]));
    }

    [Fact]
    public async Task Who_comes_meanwhile_waits()
    {
        Requires.Root();
        Requires.That(FuseRingSwitch.IsThere, "FUSE over io_uring is not there");
        using ManualResetEventSlim tries = new();
        FuseRingSwitch first = FuseRingSwitch.TrySwitchOn()!;
        bool wasOn = first.WasOn;
        Task<bool> second = Task.Run(() =>
        {
            tries.Set();
            using FuseRingSwitch on = FuseRingSwitch.TrySwitchOn()!;
            return on.WasOn;
        });
        tries.Wait(TestContext.Current.CancellationToken);
        await Task.WhenAny(second, Task.Delay(20, TestContext.Current.CancellationToken));
        Assert.False(second.IsCompleted);
        first.Dispose();
        Assert.Equal(wasOn, await second);
    }
}
