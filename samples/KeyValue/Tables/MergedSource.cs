// SPDX-License-Identifier: MIT
namespace KeyValue.Tables;

/// <summary>Several sources as one: of a key that more than one has, the entry of the first of them counts.</summary>
/// <param name="sources">Newest first. They belong to this one.</param>
internal sealed class MergedSource(SortedSource[] sources) : SortedSource
{
    // Which sources stand on an entry that has not been passed. Before the first step: none, and all have to take one.
    private readonly bool[] _isLoaded = new bool[sources.Length];
    private readonly bool[] _isAtEnd = new bool[sources.Length];
    private int _current = -1;

    public override ReadOnlySpan<byte> Key => sources[_current].Key;

    public override ReadOnlySpan<byte> Value => sources[_current].Value;

    public override bool IsDeleted => sources[_current].IsDeleted;

    public override void Seek(ReadOnlySpan<byte> key)
    {
        _current = -1;
        for (int i = 0; i < sources.Length; i++)
        {
            sources[i].Seek(key);
            _isLoaded[i] = _isAtEnd[i] = false;
        }
    }

    public override bool MoveNext()
    {
        PassCurrent();
        _current = -1;
        for (int i = 0; i < sources.Length; i++)
        {
            if (!_isLoaded[i] && !_isAtEnd[i])
            {
                _isLoaded[i] = sources[i].MoveNext();
                _isAtEnd[i] = !_isLoaded[i];
            }

            if (_isLoaded[i] && (_current < 0 || sources[i].Key.SequenceCompareTo(sources[_current].Key) < 0))
            {
                _current = i;
            }
        }

        return _current >= 0;
    }

    // Older entries of the same key go with it; the sources before the current one stand on higher keys.
    private void PassCurrent()
    {
        if (_current >= 0)
        {
            for (int i = _current + 1; i < sources.Length; i++)
            {
                _isLoaded[i] = _isLoaded[i] && !sources[i].Key.SequenceEqual(sources[_current].Key);
            }

            _isLoaded[_current] = false;
        }
    }
}
