// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Net.Cheetah.Logging;

namespace Exo.Net.Cheetah.Tests.Logging;

/// <summary>What a log has written; it can be held up, and can fail.</summary>
internal sealed class LogOutput : Stream
{
    private readonly MemoryStream written = new();
    private readonly ManualResetEventSlim mayWrite = new(true);
    private int failures;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <summary>Writes that came so far, also those that are held up.</summary>
    public int Writes { get; private set; }

    public string Text
    {
        get
        {
            lock (written)
            {
                return Encoding.Latin1.GetString(written.ToArray());
            }
        }
    }

    /// <summary>The lines written once everything recorded so far is.</summary>
    public async Task<string[]> LinesAsync(AccessLog log)
    {
        await log.FlushAsync();
        return [.. Text.Split('\n')[..^1]];
    }

    public void HoldUp() => mayWrite.Reset();

    public void LetGo() => mayWrite.Set();

    /// <summary>The next writes take half of what they are given and throw.</summary>
    public void Fail(int count) => failures = count;

    public override void Write(byte[] buffer, int offset, int count)
    {
        Writes++;
        mayWrite.Wait();
        bool fails = failures-- > 0;
        lock (written)
        {
            written.Write(buffer, offset, fails ? count / 2 : count);
        }

        if (fails)
        {
            throw new IOException("no space left");
        }
    }

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        Assert.Fail("The stream is the application's.");
    }
}
