// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Exo.Adapters.Fuse.Messages;
using Exo.Core.Linux;
using Exo.FileSystems.CFFS;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>Connections to the kernel's FUSE: made by mount(2) as root, by the helper <c>fusermount3</c> for everybody else.</summary>
internal static unsafe class FuseDevice
{
    private const string Path = "/dev/fuse";
    private const string Helper = "fusermount3";

    /// <summary>Mounts, and returns the descriptor that the kernel's messages come from.</summary>
    public static int Mount(string directory, FuseMountOptions options, bool isReadOnly)
    {
        if (Libc.EffectiveUser() == 0 && !options.UseHelper)
        {
            return MountDirectly(directory, options, isReadOnly);
        }

        return options.BlockDevice != true
            ? MountByHelper(directory, options, isReadOnly)
            : throw new IOException($"mounting on {directory} from a block device: only the superuser may");
    }

    /// <summary>Another descriptor of the same connection, with a queue of its own; -1 where the device cannot be opened.</summary>
    public static int Clone(int connection)
    {
        int clone = Open();
        if (clone >= 0)
        {
            uint of = (uint)connection;
            if (Libc.IoControl(clone, MountAbi.FUSE_DEV_IOC_CLONE, &of) == 0)
            {
                return clone;
            }

            Libc.Close(clone);
        }

        return -1;
    }

    /// <summary>Unmounts. Null when it is done, else why not.</summary>
    public static string? Unmount(string directory, bool lazily)
    {
        if (Libc.EffectiveUser() == 0)
        {
            fixed (byte* target = Terminated(directory))
            {
                return Libc.Unmount(target, lazily ? MountAbi.MNT_DETACH : 0) == 0 ? null : $"{directory}: {Errno.Describe(Errno.Last)}";
            }
        }

        ProcessStartInfo start = new(Helper) { RedirectStandardError = true };
        start.ArgumentList.Add("-u");
        if (lazily)
        {
            start.ArgumentList.Add("-z");
        }

        start.ArgumentList.Add("--");
        start.ArgumentList.Add(directory);
        using Process helper = Start(start);
        string said = helper.StandardError.ReadToEnd();
        helper.WaitForExit();
        return helper.ExitCode == 0 ? null : $"{directory}: {said.Trim()}";
    }

    /// <summary>
    /// Ends a mount that is in use: what the kernel has not yet sent is asked for, the connection is cut, so that whoever uses it gets errors, and the mount is taken away.
    /// The calling thread must not be one that serves the mount. False where only the users of the mount can end it.
    /// </summary>
    public static bool CutOff(string directory)
    {
        WriteBack(directory);
        return Force(directory);
    }

    /// <summary>Asks for what the kernel has not yet sent. The calling thread must not be one that serves the mount.</summary>
    public static void WriteBack(string directory)
    {
        fixed (byte* target = Terminated(directory))
        {
            int fd = Libc.Open(target, MountAbi.O_CLOEXEC, 0);
            if (fd >= 0)
            {
                _ = Libc.SyncFileSystem(fd);
                Libc.Close(fd);
            }
        }
    }

    /// <summary>Cuts the connection and takes the mount away, whatever goes on there. False where only its users can end it.</summary>
    public static bool Force(string directory)
    {
        fixed (byte* target = Terminated(directory))
        {
            return Libc.Unmount(target, MountAbi.MNT_FORCE | MountAbi.MNT_DETACH) == 0;
        }
    }

    /// <summary>
    /// Reads of files that are read in order get as far ahead as one message reaches: the kernel's usual 128 KiB are eight messages for what one can bring.
    /// For the superuser only; for others it stays as it is.
    /// </summary>
    public static void ReadFarAhead(FuseMountPoint mount)
    {
        try
        {
            File.WriteAllText(
                string.Create(CultureInfo.InvariantCulture, $"/sys/class/bdi/{mount.DeviceMajor}:{mount.DeviceMinor}{(mount.DeviceMajor == 0 ? "" : "-fuseblk")}/read_ahead_kb"),
                (FuseSessionLimits.WriteBytesMax / 1024).ToString(CultureInfo.InvariantCulture));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // No right, or no such file: slower, nothing else.
        }
    }

    private static int MountDirectly(string directory, FuseMountOptions options, bool isReadOnly)
    {
        int connection = Open();
        if (connection < 0)
        {
            throw new IOException($"{Path}: {Errno.Describe(Errno.Last)}");
        }

        nuint flags = (isReadOnly ? MountAbi.MS_RDONLY : 0) | (options.NoSetUser ? MountAbi.MS_NOSUID : 0) | (options.NoDevices ? MountAbi.MS_NODEV : 0)
            | (options.NoExecute ? MountAbi.MS_NOEXEC : 0) | (options.NoAccessTimes ? MountAbi.MS_NOATIME : 0);
        string data = string.Create(
            CultureInfo.InvariantCulture,
            $"fd={connection},rootmode=40000,user_id={Libc.EffectiveUser()},group_id={Libc.EffectiveGroup()},default_permissions{(options.AllowOther ? ",allow_other" : "")}");

        // From the mount on the device is the kernel's.
        using LoopDevice? loop = options.BlockDevice == false || !System.IO.Path.IsPathRooted(options.Source) ? null : LoopDevice.TryAttach(options.Source, isReadOnly);
        int error = loop is null
            ? Errno.ENODEV
            : Mount(loop.Path, directory, MountTable.BlockType, flags, string.Create(CultureInfo.InvariantCulture, $"{data},blksize={CffsSpace.BlockBytes}"));
        bool must = options.BlockDevice == true;
        if (error != 0 && !must)
        {
            error = Mount(options.Source, directory, MountTable.Type, flags, data);
        }

        if (error != 0)
        {
            Libc.Close(connection);
            throw new IOException(
                $"mounting on {directory}{(must ? " from a block device" : "")}: {(must && loop is null ? $"no loop device over {options.Source} can be had" : Errno.Describe(error))}");
        }

        return connection;
    }

    /// <summary>mount(2). 0, or why not.</summary>
    private static int Mount(string source, string directory, string type, nuint flags, string data)
    {
        fixed (byte* from = Terminated(source), target = Terminated(directory), kind = Terminated(type), text = Terminated(data))
        {
            return Libc.Mount(from, target, kind, flags, text) == 0 ? 0 : Errno.Last;
        }
    }

    /// <summary>The helper is set-user-id root: it opens the device, mounts, and sends the descriptor back through the socket that _FUSE_COMMFD names.</summary>
    private static int MountByHelper(string directory, FuseMountOptions options, bool isReadOnly)
    {
        // The end that the helper inherits is the one that is not closed when it is executed; ours must not leak into it.
        int* pair = stackalloc int[2];
        if (Libc.SocketPair(MountAbi.AF_UNIX, MountAbi.SOCK_STREAM, 0, pair) != 0)
        {
            throw new IOException($"socketpair: {Errno.Describe(Errno.Last)}");
        }

        int ours = pair[0];
        int theirs = pair[1];
        try
        {
            ProcessStartInfo start = new(Helper) { RedirectStandardError = true };
            start.ArgumentList.Add("-o");
            start.ArgumentList.Add(HelperOptions(options, isReadOnly));
            start.ArgumentList.Add("--");
            start.ArgumentList.Add(directory);
            start.Environment["_FUSE_COMMFD"] = theirs.ToString(CultureInfo.InvariantCulture);
            using Process helper = Start(start);
            Libc.Close(theirs);
            theirs = -1;

            // The helper holds a copy of our end, too, so its exit is what ends the wait when it fails: first its words, then the descriptor.
            string said = helper.StandardError.ReadToEnd();
            helper.WaitForExit();
            int connection = helper.ExitCode == 0 ? Libc.ReceiveDescriptor(ours) : -1;
            return connection >= 0 ? connection : throw new IOException($"mounting on {directory}: {Helper}: {said.Trim()}");
        }
        finally
        {
            Libc.Close(ours);
            if (theirs >= 0)
            {
                Libc.Close(theirs);
            }
        }
    }

    private static string HelperOptions(FuseMountOptions options, bool isReadOnly)
    {
        StringBuilder text = new();
        text.Append(isReadOnly ? "ro" : "rw").Append(",default_permissions,subtype=exo,fsname=");
        foreach (char c in options.Source)
        {
            text.Append(c is ',' or '\\' ? "\\" : "").Append(c);
        }

        text.Append(options.AllowOther ? ",allow_other" : "").Append(options.NoSetUser ? ",nosuid" : "").Append(options.NoDevices ? ",nodev" : "")
            .Append(options.NoExecute ? ",noexec" : "").Append(options.NoAccessTimes ? ",noatime" : "");
        return text.ToString();
    }

    private static Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception missing)
        {
            throw new IOException($"{Helper}: {missing.Message}", missing);
        }
    }

    private static int Open()
    {
        fixed (byte* path = Terminated(Path))
        {
            return Libc.Open(path, MountAbi.O_RDWR | MountAbi.O_CLOEXEC, 0);
        }
    }

    private static byte[] Terminated(string text) => [.. Encoding.UTF8.GetBytes(text), 0];
}
