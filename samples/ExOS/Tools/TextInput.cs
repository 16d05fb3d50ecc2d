// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>Lines of a descriptor.</summary>
internal sealed class TextInput(Process self, int descriptor)
{
    private readonly byte[] _buffer = new byte[16 << 10];
    private readonly List<byte> _line = [];
    private int _at;
    private int _end;

    /// <summary>The next line without its line feed; null at the end.</summary>
    public async ValueTask<string?> ReadLineAsync()
    {
        _line.Clear();
        while (true)
        {
            if (_at == _end)
            {
                (_at, _end) = (0, await self.Files.ReadAsync(descriptor, _buffer));
                if (_end == 0)
                {
                    return _line.Count > 0 ? Text() : null;
                }
            }

            int feed = _buffer.AsSpan(_at, _end - _at).IndexOf((byte)'\n');
            if (feed >= 0)
            {
                _line.AddRange(_buffer.AsSpan(_at, feed));
                _at += feed + 1;
                return Text();
            }

            _line.AddRange(_buffer.AsSpan(_at, _end - _at));
            _at = _end;
        }
    }

    private string Text() => Encoding.UTF8.GetString(_line.ToArray());
}
