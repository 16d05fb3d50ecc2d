// SPDX-License-Identifier: MIT
using KeyValue.Tables;

namespace KeyValue.Memory;

/// <summary>A memory table's entries as of a commit.</summary>
internal sealed class MemorySource(MemoryTable table, ulong commit) : SortedSource
{
    private MemoryTable.Node? _next = table.First;
    private MemoryTable.Node? _node;
    private MemoryTable.Version? _version;

    public override ReadOnlySpan<byte> Key => _node!.Key;

    public override ReadOnlySpan<byte> Value => _version!.Value;

    public override bool IsDeleted => _version!.Value is null;

    public override void Seek(ReadOnlySpan<byte> key) => _next = table.LowerBound(key);

    public override bool MoveNext()
    {
        for (; _next is not null; _next = _next.Next(0))
        {
            _node = _next;
            _version = _node.AsOf(commit);
            if (_version is not null)
            {
                _next = _next.Next(0);
                return true;
            }
        }

        return false;
    }
}
