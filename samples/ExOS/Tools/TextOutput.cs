// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>Text for a descriptor, written when a block has come together and at the end.</summary>
internal sealed class TextOutput(Process self, int descriptor) : IAsyncDisposable
{
    private readonly StringBuilder _text = new();

    public async ValueTask WriteLineAsync(string line)
    {
        _text.Append(line).Append('\n');
        if (_text.Length > 4000)
        {
            await FlushAsync();
        }
    }

    public async ValueTask FlushAsync()
    {
        byte[] bytes = Encoding.UTF8.GetBytes(_text.ToString());
        _text.Clear();
        if (bytes.Length > 0)
        {
            await self.Files.WriteAsync(descriptor, bytes);
        }
    }

    public ValueTask DisposeAsync() => FlushAsync();
}
