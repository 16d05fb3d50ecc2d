// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using BenchmarkDotNet.Attributes;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.Benchmarks.Storage;

/// <summary>
/// A block of 512 pointers of 8 bytes, each a partition of its own. One of them is set, with the claim that it allocates a block, and cleared again, with the claim that it frees it:
/// two transactions, each checked whole. What the other pointers are must not matter.
/// </summary>
public class CheckedAllocations
{
    private const int PointerBytes = 8;
    private const int Pointers = 512;

    // Grants what a capability of the empty name has the rights for.
    private const string Acl = """
            mov r0, 0
            ldxw r1, [r3+4]
            ldxw r2, [r3+16]
            and r2, r1
            jne r2, r1, done
            ldxw r2, [r3+20]
            jne r2, 0, done
            mov r0, 1
        done:
            exit
        """;

    private readonly XnTransaction _transaction = new();
    private readonly byte[] _pointer = new byte[PointerBytes];
    private readonly byte[] _none = new byte[PointerBytes];
    private FramePool _frames = null!;
    private MemoryBlockDevice _disk = null!;
    private XnVolume _volume = null!;
    private Credential _key = null!;
    private TemplateId _data;
    private BlockNumber _root;
    private BlockExtent _block;

    /// <summary>Pointers that the block holds already.</summary>
    [Params(1, 511)]
    public int Held { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        _disk = new MemoryBlockDevice(_frames, 4096);
        _volume = XnVolume.Format(_disk);
        _key = _frames.RootCredential;
        TemplateId[] templates = _volume.InstallTemplates(_key,
        [
            new TemplateSource
            {
                Name = "pointers",
                ReadSetBytes = PointerBytes,
                Partitions = [new PartitionGroup(0, PointerBytes, Pointers)],
                Owns = Assembler.Assemble("ldxdw r1, [r1+0]\nmov r2, 1\nmov r3, 0\ncall 1\nmov r0, 0\nexit"),
                Acl = Assembler.Assemble(Acl),
                Children = ["data"],
            },
            new TemplateSource { Name = "data" },
        ]);
        _data = templates[1];
        _root = _volume.CreateRoot(_key, templates[0], default, []);
        ulong next = _root.Value + 1;
        for (int i = 0; i < Held; i++)
        {
            Point(i, new BlockExtent(new BlockNumber(next++), 1));
        }

        _block = new BlockExtent(new BlockNumber(next), 1);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Benchmark(OperationsPerInvoke = 2)]
    public void Allocate_and_free()
    {
        Point(Pointers - 1, _block);
        _transaction.Clear();
        _transaction.Write(_root, (Pointers - 1) * PointerBytes, _none);
        _transaction.ClaimFree(_block, _data, _root, Pointers - 1);
        Apply();
    }

    [Benchmark]
    public void Write_that_changes_no_pointer()
    {
        // The bytes that are there: no partition changes, no function runs.
        _transaction.Clear();
        _transaction.Write(_root, (Pointers - 1) * PointerBytes, _none);
        Apply();
    }

    private void Point(int index, BlockExtent block)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(_pointer, block.First.Value);
        _transaction.Clear();
        _transaction.Write(_root, index * PointerBytes, _pointer);
        _transaction.ClaimAllocate(block, _data, _root, index);
        Apply();
    }

    private void Apply()
    {
        if (_volume.Apply(_key, _transaction) != XnStatus.Ok)
        {
            throw new InvalidOperationException(_transaction.LastRefusal);
        }
    }
}
