// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.AddressSpaces;
using Exo.Core.Memory;
using Exo.Core.Tests.Memory;

namespace Exo.Core.Tests.AddressSpaces;

/// <summary>A process tree beside byte arrays: whatever is bound, written, paged out and forked, each space shows its own history and no frame is lost.</summary>
public sealed class AddressSpaceModelTests
{
    private const int Pages = 6;

    [Fact]
    public void Spaces_that_fork_and_write_show_what_arrays_show() =>
        Gen.Select(Gen.Int[0, 5], Gen.Int[0, 3], Gen.Int[0, Pages - 1], Gen.Byte).Array[1, 80].Sample(RunAll, iter: 300);

    private static void RunAll((int Operation, int Space, int Page, byte Value)[] operations)
    {
        using FramePool pool = FramePoolTests.Pool(256);
        PageFaultUpcall resolve = (in PageFault fault) =>
        {
            Assert.True(pool.TryAllocate(pool.RootCredential, out FrameNumber fresh, zero: true));
            if (fault.Kind == PageFaultKind.CopyOnWrite)
            {
                fault.Space.CopyPage(pool.RootCredential, fault.Page, fresh);
            }
            else
            {
                fault.Space.Bind(pool.RootCredential, fault.Page, fresh, PageAccess.Write);
            }

            pool.Release(fresh);
            return true;
        };
        List<(AddressSpace Space, byte[] Model)> spaces = [(AddressSpace.Reserve(pool, Pages * AddressSpace.PageBytes, resolve, withWindow: false), new byte[Pages])];
        foreach ((int operation, int which, int page, byte value) in operations)
        {
            (AddressSpace space, byte[] model) = spaces[which % spaces.Count];
            switch (operation)
            {
                case 0 or 1:
                    space.Write((long)page * AddressSpace.PageBytes + 17, [value]);
                    model[page] = value;
                    break;
                case 2 when spaces.Count < 4:
                    spaces.Add((space.Fork(resolve, withWindow: false), [.. model]));
                    break;
                case 3:
                    space.Unbind(page);
                    model[page] = 0;
                    break;
                case 4:
                    space.ClearDirty(0, Pages);
                    break;
                case 5 when spaces.Count > 1:
                    space.Dispose();
                    spaces.RemoveAll(item => item.Space == space);
                    break;
            }

            foreach ((AddressSpace each, byte[] expected) in spaces)
            {
                for (int i = 0; i < Pages; i++)
                {
                    byte[] one = new byte[1];
                    if (each.Translations[i].IsBound)
                    {
                        each.Read((long)i * AddressSpace.PageBytes + 17, one);
                    }

                    Assert.Equal(expected[i], one[0]);
                }
            }
        }

        foreach ((AddressSpace space, _) in spaces)
        {
            space.Dispose();
        }

        Assert.Equal(pool.FrameCount, pool.FreeCount);
    }
}
