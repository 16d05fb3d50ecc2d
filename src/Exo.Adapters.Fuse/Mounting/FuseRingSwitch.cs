// SPDX-License-Identifier: MIT
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// The kernel's parameter that offers FUSE over io_uring to new connections (6.14 and later; off by default). A connection that has it keeps it, so the superuser's mount needs it for a moment: it is put back to what it was.
/// Meanwhile the parameter's file is locked against others who do the same.
/// </summary>
internal sealed class FuseRingSwitch : IDisposable
{
    private const string Parameter = "/sys/module/fuse/parameters/enable_uring";

    // Others have it until the kernel's first message to them is answered.
    private static readonly TimeSpan LockTimeout = TimeSpan.FromSeconds(60), Retry = TimeSpan.FromMilliseconds(5);

    private readonly FileStream _file;
    private bool _isOver;

    private FuseRingSwitch(FileStream file)
    {
        _file = file;
        WasOn = _file.ReadByte() is 'Y' or '1';
        if (!WasOn)
        {
            Write("Y"u8);
        }
    }

    /// <summary>Whether the administrator has switched it on.</summary>
    public bool WasOn { get; }

    /// <summary>Whether the kernel offers it to any new connection.</summary>
    public static bool IsOn
    {
        get
        {
            try
            {
                return File.ReadAllText(Parameter).Trim() is "Y" or "1";
            }
            catch (IOException locked) when (locked.HResult == Errno.EAGAIN)
            {
                return true;   // by one who has it on
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                return false;
            }
        }
    }

    /// <summary>Whether it is on, or this user may switch it on.</summary>
    public static bool IsThere
    {
        get
        {
            using FuseRingSwitch? on = TrySwitchOn();
            return on is not null || IsOn;
        }
    }

    /// <summary>Switches it on until disposal. Null without the right, or in a kernel that has none.</summary>
    public static FuseRingSwitch? TrySwitchOn()
    {
        for (TimeSpan waited = TimeSpan.Zero; ; waited += Retry)
        {
            try
            {
                return new FuseRingSwitch(new FileStream(Parameter, FileMode.Open, FileAccess.ReadWrite, FileShare.None, bufferSize: 0));
            }
            catch (IOException locked) when (locked.HResult == Errno.EAGAIN && waited < LockTimeout)
            {
                Thread.Sleep(Retry);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                return null;
            }
        }
    }

    public void Dispose()
    {
        if (_isOver)
        {
            return;
        }

        _isOver = true;
        if (!WasOn)
        {
            Write("N"u8);
        }

        _file.Dispose();
    }

    private void Write(ReadOnlySpan<byte> value)
    {
        _file.Position = 0;
        _file.Write(value);
        _file.Flush();
    }
}
