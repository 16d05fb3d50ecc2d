// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Copies that share blocks, and snapshots, as programs see them.</summary>
public sealed class CloneTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Cp_shares_blocks_and_each_copy_is_its_own(bool writeback)
    {
        using Mounted at = new(new FuseMountOptions { WritebackCache = writeback });
        at.Shell("""
            head -c 3000001 /dev/urandom > a
            sync -f a
            before=$(stat -f -c %f .)
            cp --reflink=auto a b
            sync -f b
            after=$(stat -f -c %f .)
            cmp a b
            test $((before - after)) -lt 20
            cp a reference
            printf changed | dd of=b bs=1 seek=1000000 conv=notrunc 2> /dev/null
            cmp a reference
            printf changed | dd of=reference bs=1 seek=1000000 conv=notrunc 2> /dev/null
            cmp b reference
            truncate -s 5000 a
            cmp b reference
            rm a
            cmp b reference
            """);
        at.Remount();
        at.Shell("cmp b reference");
    }

    [Fact]
    public void A_snapshot_is_read_as_all_else_and_refuses_every_change()
    {
        using Mounted at = new();
        at.Shell("""
            mkdir d d/e
            head -c 100000 /dev/urandom > d/f
            ln d/f d/e/g
            ln -s f d/link
            echo tiny > d/e/tiny
            touch -d 2001-02-03T04:05:06 d/e/tiny
            """);
        at.Volume.CreateSnapshot("/d", "/snap");
        at.Shell("""
            diff -r d snap
            test "$(stat -c %i snap/f)" = "$(stat -c %i snap/e/g)"
            test "$(stat -c %h snap/f)" = 2
            test "$(stat -c %Y snap/e/tiny)" = "$(stat -c %Y d/e/tiny)"
            echo more >> d/e/tiny
            test "$(cat snap/e/tiny)" = tiny
            refused() { if "$@" 2> err; then echo "$* was not refused"; exit 1; fi; grep -q "Read-only" err || { cat err; exit 1; }; }
            refused touch snap/new
            refused rm -f snap/f
            refused rmdir snap/e
            refused mv snap/f f
            refused mv snap other
            refused mv d/f snap/e/tiny
            refused ln snap/f f
            refused mkdir snap/new
            refused chmod 600 snap/f
            refused chown 3 snap
            refused truncate -s 0 snap/f
            refused touch snap/f
            refused dd if=/dev/zero of=snap/f bs=1 count=1 conv=notrunc
            refused cp d/f snap/f
            cp snap/f back
            cmp snap/f back
            """);
        at.Volume.DeleteSnapshot("/snap");

        // The kernel has the name in its cache; what goes behind its back is seen by the next mount.
        at.Remount();
        at.Shell("test ! -e snap && test -e d/f");
    }
}
