// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS;

namespace Service;

/// <summary>
/// Uploads, each whole or not there. What comes is written beside its place, made durable, and only then given its name, which replaces the old file in one step; so nobody ever reads half a file, and a crash leaves
/// the old or the new one. What a crash or an impatient client leaves unfinished is thrown away.
/// </summary>
internal sealed class UploadStore
{
    private readonly CffsVolume volume;
    private readonly string folder;
    private readonly string unfinished;

    public UploadStore(CffsVolume volume, string folder, string unfinished)
    {
        (this.volume, this.folder, this.unfinished) = (volume, folder, unfinished);
        volume.CreateDirectories(folder);
        volume.CreateDirectories(unfinished);
        foreach (CffsDirectoryEntry left in volume.ReadDirectory(unfinished))
        {
            volume.RemoveFile($"{unfinished}/{left.NameString}");
        }
    }

    /// <summary>Whether a file can have the name here.</summary>
    public static bool IsName(string name) =>
        name.Length > 0 && name[0] != '.' && !name.AsSpan().ContainsAny('/', '\0') && Encoding.UTF8.GetByteCount(name) <= 255;

    /// <summary>Stores a file; when this has completed it is durable. True: there was none of that name.</summary>
    /// <exception cref="CffsException">NoSpace.</exception>
    public async Task<bool> StoreAsync(string name, Stream contents, CancellationToken cancellationToken)
    {
        string path = $"{folder}/{name}", beside = $"{unfinished}/{Guid.NewGuid():N}";
        try
        {
            await using (CffsFile file = await volume.OpenFileAsync(beside, CffsOpenMode.Write | CffsOpenMode.CreateNew, cancellationToken: cancellationToken))
            {
                await contents.CopyToAsync(file.AsStream(ownsFile: false), cancellationToken);
                await file.SyncAsync(cancellationToken);
            }

            bool isNew = !volume.Exists(path);
            await volume.RenameAsync(beside, path, cancellationToken: CancellationToken.None);
            await volume.SyncAsync(CancellationToken.None);
            return isNew;
        }
        catch
        {
            if (volume.Exists(beside))
            {
                volume.RemoveFile(beside);
            }

            throw;
        }
    }

    /// <summary>Removes a file, durably. False: there is none.</summary>
    public async Task<bool> RemoveAsync(string name, CancellationToken cancellationToken)
    {
        try
        {
            await volume.RemoveFileAsync($"{folder}/{name}", cancellationToken: cancellationToken);
        }
        catch (CffsException absent) when (absent.Error == CffsError.NotFound)
        {
            return false;
        }

        await volume.SyncAsync(CancellationToken.None);
        return true;
    }
}
