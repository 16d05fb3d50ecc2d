// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Memory;

/// <summary>Who may do what with a frame, and when a binding ends.</summary>
public sealed class FrameAccessTests : IDisposable
{
    private readonly FramePool _pool = FramePoolTests.Pool(16);
    private readonly Credential _alice;
    private readonly Credential _bob;
    private readonly FrameNumber _frame;

    public FrameAccessTests()
    {
        _alice = FramePoolTests.Forge(_pool, "1.1", Rights.All);
        _bob = FramePoolTests.Forge(_pool, "1.2", Rights.All);
        Assert.True(_pool.TryAllocate(_alice, out _frame));
    }

    public void Dispose() => _pool.Dispose();

    [Fact]
    public void A_frame_is_its_owners_and_its_owners_superiors()
    {
        Assert.Equal(AccessRefusal.None, _pool.Check(_alice, _frame, Rights.All));
        Assert.Equal(AccessRefusal.None, _pool.Check(_pool.RootCredential, _frame, Rights.All));
        Assert.Equal(AccessRefusal.NotDominated, _pool.Check(_bob, _frame, Rights.Read));
        Assert.Equal(AccessRefusal.NotDominated, _pool.Check(_alice, new FrameNumber(_frame.Value + 1), Rights.Read));
        Credential reader = FramePoolTests.Forge(_pool, "1.1", Rights.Read);
        Assert.Equal(AccessRefusal.None, _pool.Check(reader, _frame, Rights.Read));
        Assert.Equal(AccessRefusal.RightNotHeld, _pool.Check(reader, _frame, Rights.Write));
    }

    [Fact]
    public void The_root_of_another_authority_has_no_power_here()
    {
        Capability foreign = CapabilityAuthority.Create().Root;
        Assert.Equal(AccessRefusal.NoValidCapability, _pool.Check(Credential.Of(foreign), _frame, Rights.Read));
        Assert.Equal(AccessRefusal.NotDominated, _pool.Check(Credential.Of(foreign, _bob.Capabilities[0]), _frame, Rights.Read));
        Assert.Equal(AccessRefusal.None, _pool.Check(Credential.Of(foreign, _alice.Capabilities[0]), _frame, Rights.All));
        Assert.Throws<AccessDeniedException>(() => _pool.TryAllocate(Credential.Of(foreign), out _));
        Assert.Throws<AccessDeniedException>(() => _pool.TryAllocate(Credential.Of(foreign), new FrameNumber(5)));
        Assert.False(_pool.TryModifyAcl(Credential.Of(foreign), _frame, 1, null, out _));
    }

    [Fact]
    public void A_revoked_credential_owns_nothing_new_and_enters_nowhere()
    {
        _alice.Capabilities[0].Revoke(_pool.RootCredential);
        Assert.Equal(AccessRefusal.NoValidCapability, _pool.Check(_alice, _frame, Rights.Read));
        var refused = Assert.Throws<AccessDeniedException>(() => _pool.TryAllocate(_alice, out _));
        Assert.Equal(AccessRefusal.NoValidCapability, refused.Refusal);
        Assert.Equal(15, _pool.FreeCount);
    }

    [Fact]
    public void A_changed_list_is_the_frames_own_and_goes_with_it()
    {
        Assert.True(_pool.TryAllocate(_alice, out FrameNumber other));
        var entry = new AclEntry(_bob.Capabilities[0].Name, Rights.Read);
        Assert.False(_pool.TryModifyAcl(_bob, _frame, 1, entry, out AccessRefusal refusal));
        Assert.Equal(AccessRefusal.NotDominated, refusal);
        Assert.True(_pool.TryModifyAcl(_alice, _frame, 1, entry, out _));
        Assert.Equal(AccessRefusal.None, _pool.Check(_bob, _frame, Rights.Read));
        Assert.NotEqual(AccessRefusal.None, _pool.Check(_bob, _frame, Rights.Write));
        Assert.Equal(AccessRefusal.NotDominated, _pool.Check(_bob, other, Rights.Read));
        Assert.False(_pool.TryModifyAcl(_alice, _frame, 0, null, out refusal));
        Assert.Equal(AccessRefusal.OwnerEntryMustKeepAllRights, refusal);
        Assert.True(_pool.TryModifyAcl(_alice, _frame, 1, null, out _));
        Assert.Equal(AccessRefusal.NotDominated, _pool.Check(_bob, _frame, Rights.Read));
        Assert.True(_pool.TryModifyAcl(_alice, _frame, 2, entry, out _));
        _pool.Release(_frame);
        Assert.True(_pool.TryAllocate(_alice, _frame));
        Assert.Equal(AccessRefusal.NotDominated, _pool.Check(_bob, _frame, Rights.Read));
    }

    [Fact]
    public void A_binding_is_checked_once_and_ends_with_the_frame()
    {
        SecureBinding<Frame> writing = _pool.Bind(_alice, _frame, Rights.Write);
        using (BindingUse<Frame> use = writing.Use(Rights.Write))
        {
            use.WritableBytes()[9] = 42;
            Assert.Equal(42, use.Bytes()[9]);
            Assert.Equal(_frame, use.Resource.Number);
        }

        SecureBinding<Frame> reading = _pool.Bind(_alice, _frame, Rights.Read);
        using (BindingUse<Frame> use = reading.Use())
        {
            Assert.Equal(42, use.Bytes()[9]);
        }

        Assert.Equal(AccessRefusal.RightNotHeld, Assert.Throws<AccessDeniedException>(() => reading.Use(Rights.Write).Dispose()).Refusal);
        Assert.Throws<AccessDeniedException>(() => WriteWithARead(writing));
        Assert.Throws<ObjectDisposedException>(() => ReadAfterTheUse(writing));
        Assert.Throws<AccessDeniedException>(() => _pool.Bind(_bob, _frame, Rights.Read));

        _pool.Release(_frame);
        AssertEnded(writing);
        Assert.True(_pool.TryAllocate(_bob, _frame));
        AssertEnded(writing);
        AssertEnded(reading);
        Assert.Throws<InvalidOperationException>(() => default(SecureBinding<Frame>).Use().Dispose());
    }

    [Fact]
    public void A_binding_ends_when_it_is_taken_back_or_the_list_changes()
    {
        SecureBinding<Frame> first = _pool.Bind(_alice, _frame, Rights.Write);
        Assert.False(_pool.TryUnbind(_bob, _frame, out _));
        Assert.True(first.IsValid);
        Assert.True(_pool.TryUnbind(_alice, _frame, out _));
        AssertEnded(first);
        SecureBinding<Frame> second = _pool.Bind(_alice, _frame, Rights.Write);
        Assert.True(_pool.TryModifyAcl(_alice, _frame, 1, new AclEntry(_bob.Capabilities[0].Name, Rights.Read), out _));
        AssertEnded(second);
    }

    private static void WriteWithARead(SecureBinding<Frame> binding)
    {
        using BindingUse<Frame> use = binding.Use();
        use.WritableBytes()[0] = 1;
    }

    private static void ReadAfterTheUse(SecureBinding<Frame> binding)
    {
        BindingUse<Frame> use = binding.Use();
        use.Dispose();
        use.Dispose();
        _ = use.Bytes()[0];
    }

    private static void AssertEnded(SecureBinding<Frame> binding)
    {
        Assert.False(binding.IsValid);
        var refused = Assert.Throws<AccessDeniedException>(() => binding.Use().Dispose());
        Assert.Equal(AccessRefusal.Revoked, refused.Refusal);
        Assert.StartsWith("frame ", refused.Resource, StringComparison.Ordinal);
    }
}
