// SPDX-License-Identifier: MIT
using System.Reflection;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Paths;

/// <summary>What is refused says which path was meant, and why, as other exceptions of .NET do.</summary>
public sealed class RefusalTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;

    public RefusalTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 4096);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions());
        _volume.CreateDirectories("/a/b");
        _volume.WriteAllBytes("/a/b/file", "text"u8.ToArray());
    }

    public void Dispose()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public async Task The_path_is_in_the_message_once_and_first()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        Expect("/a/b/none: not found", CffsError.NotFound, () => _volume.ReadAllBytes("/a/b/none"));
        Expect("/a/b: 'b' exists", CffsError.Exists, () => _volume.CreateDirectory("/a/b"));
        Expect("/a/none/x: 'none' not found", CffsError.NotFound, () => _volume.WriteAllBytes("/a/none/x", new byte[1]));
        Expect("/a/b: the directory is not empty", CffsError.NotEmpty, () => _volume.RemoveDirectory("/a/b"));
        Expect("/a/b/file: no symbolic link", CffsError.Invalid, () => _volume.ReadSymbolicLink("/a/b/file"));
        Expect("/a/none to /c: 'none' not found", CffsError.NotFound, () => _volume.Rename("/a/none", "/c"));
        Expect("/a to /a/b/c: a directory cannot move below itself", CffsError.Invalid, () => _volume.Rename("/a", "/a/b/c"));
        Expect("/none: not found", CffsError.NotFound, () => _volume.CreateHardLink("/none", "/x"));

        // A path with which the reason happens to begin, too.
        Expect("a to a/b/c: a directory cannot move below itself", CffsError.Invalid, () => _volume.Rename("a", "a/b/c"));
        Expect("a is a directory", CffsError.IsDirectory, () => _volume.ReadAllBytes("a"));
        CffsException thrown = await Assert.ThrowsAsync<CffsException>(() => _volume.RemoveFileAsync("/a/b", cancellationToken: token).AsTask());
        Assert.Equal(("/a/b: 'b' is a directory", CffsError.IsDirectory), (thrown.Message, thrown.Error));
    }

    [Fact]
    public void The_result_is_the_errno_value_as_in_other_input_and_output_exceptions()
    {
        foreach (CffsError error in Enum.GetValues<CffsError>())
        {
            CffsException refused = new(error, "");
            Assert.Equal(((int)error, (int)error), (refused.HResult, refused.Errno));
        }

        // ENOSPC.
        Assert.Equal(28, Assert.ThrowsAny<IOException>(() => _volume.WriteAllBytes("/big", new byte[32 << 20])).HResult);
    }

    /// <summary>Every method, with arguments that an open volume would not refuse for their own sake. Those that take spans cannot be called so.</summary>
    [Fact]
    public async Task What_is_closed_is_disposed_of()
    {
        CffsFile file = _volume.OpenFile("/a/b/file");
        CffsDirectory directory = _volume.OpenDirectory("/a");
        _volume.Dispose();
        List<string> missed = [];
        foreach (object closed in (object[])[_volume, file, directory])
        {
            foreach (MethodInfo method in closed.GetType().GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly))
            {
                // What ends it once more, and what only makes something or tells what is in memory.
                bool isAllowed = method.Name is nameof(IDisposable.Dispose) or nameof(IAsyncDisposable.DisposeAsync) or nameof(CffsVolume.Abandon)
                    or nameof(CffsVolume.GetSpace) or nameof(CffsFile.AsStream) or nameof(CffsDirectory.Confine);
                if (!isAllowed && !method.IsSpecialName && !Array.Exists(method.GetParameters(), static parameter => parameter.ParameterType.IsByRefLike || parameter.ParameterType.IsByRef)
                    && await ResultOf(closed, method) is not (ObjectDisposedException or ArgumentException) and var result)
                {
                    missed.Add($"{closed.GetType().Name}.{method}: {(result as Exception)?.GetType() ?? result}");
                }
            }
        }

        Assert.True(missed.Count == 0, string.Join('\n', missed));
        Assert.Throws<ObjectDisposedException>(() => file.Read(0, new byte[1]));
        Assert.Throws<ObjectDisposedException>(() => file.Write(0, new byte[1]));
        Assert.Throws<ObjectDisposedException>(() => _volume.ReadAllBytes("/a/b/file"u8.ToArray(), new byte[10].AsSpan()));
    }

    /// <summary>What a call has thrown, or returned.</summary>
    private async Task<object?> ResultOf(object target, MethodInfo method)
    {
        object?[] arguments = [.. method.GetParameters().Select(parameter => Argument(parameter.ParameterType))];
        try
        {
            object? result = method.Invoke(target, arguments);
            if (result?.GetType() is { Name: "ValueTask" or "ValueTask`1" } type)
            {
                await (Task)type.GetMethod(nameof(ValueTask.AsTask))!.Invoke(result, null)!;
            }

            return result;
        }
        catch (TargetInvocationException thrown)
        {
            return thrown.InnerException;
        }
        catch (Exception thrown)
        {
            return thrown;
        }
    }

    private object? Argument(Type type) =>
        type == typeof(string) ? "/user.a"
        : type == typeof(ReadOnlyMemory<byte>) ? new ReadOnlyMemory<byte>("/user.a"u8.ToArray())
        : type == typeof(Memory<byte>) ? new Memory<byte>(new byte[16])
        : type == typeof(byte[]) ? new byte[16]
        : type == typeof(CffsVolume) ? _volume
        : type == typeof(long) ? 1L
        : type.IsValueType ? Activator.CreateInstance(type)
        : null;

    [Fact]
    public void A_removed_directory_may_be_closed_after_its_volume()
    {
        _volume.CreateDirectory("/gone");
        CffsDirectory directory = _volume.OpenDirectory("/gone");
        _volume.RemoveDirectory("/gone");
        _volume.Dispose();
        directory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => directory.Stat());
    }

    private static void Expect(string message, CffsError error, Action refused)
    {
        CffsException thrown = Assert.Throws<CffsException>(refused);
        Assert.Equal((message, error), (thrown.Message, thrown.Error));
    }
}
