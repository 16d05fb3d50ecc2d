// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using KeyValue.Format;

namespace KeyValue.Tables;

/// <summary>A table's entries. The page that it stands in is copied, so that nothing stays pinned between two steps.</summary>
internal sealed class TableSource(Table table, PageCache cache) : SortedSource
{
    private byte[] _bytes = [];
    private int _length;
    private int _page = -1;
    private int _entry = -1;

    public override ReadOnlySpan<byte> Key => Current.Key(_entry);

    public override ReadOnlySpan<byte> Value => Current.Value(_entry);

    public override bool IsDeleted => Current.IsDeleted(_entry);

    private Page Current => new(_bytes.AsSpan(0, _length));

    public override void Seek(ReadOnlySpan<byte> key)
    {
        int page = table.FindPage(key);
        if (page < 0)
        {
            (_page, _length) = (-1, 0);
        }
        else
        {
            Enter(page);
            _entry = Current.LowerBound(key) - 1;
        }
    }

    public override bool MoveNext()
    {
        if (_length > 0 && _entry + 1 < Current.Count)
        {
            _entry++;
            return true;
        }

        if (_page + 1 >= table.Pages.Length)
        {
            return false;
        }

        Enter(_page + 1);
        _entry = 0;
        return true;
    }

    private void Enter(int page)
    {
        using PinnedPage pinned = cache.Pin(table, page);
        if (_bytes.Length < pinned.Bytes.Length)
        {
            _bytes = new byte[pinned.Bytes.Length];
        }

        pinned.Bytes.CopyTo(_bytes);
        (_page, _length) = (page, pinned.Bytes.Length);
    }
}
