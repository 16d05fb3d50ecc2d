// A library operating system in one file. Which blocks of the disk it uses, what is in them and when they are written is decided here;
// XN, the exokernel's part, only sees to it that nobody takes what belongs to another, and that a power cut leaves no pointer to nothing.
using System.Buffers.Binary;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Storage.XN;

string image = args.Length > 0 ? args[0] : "disk.img";
bool isNew = !File.Exists(image);

// Boot: frames of memory, a disk that is read and written from them, and XN on it.
using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
using BlockDevice device = BlockDevice.Open(image, frames, new BlockDeviceOptions { Create = isNew, CreateBytes = 16 << 20 });
using XnVolume disk = isNew ? XnVolume.Format(device) : XnVolume.Attach(device);
Credential key = frames.RootCredential;

// Allocate: one block, a root of this disk. Its template teaches XN by downloaded code which blocks such a block points to ('owns': its one
// partition of 16 bytes points to none) and who may use it ('acl': everybody here).
BlockNumber home;
if (isNew)
{
    TemplateSource template = new()
    {
        Name = "home",
        ReadSetBytes = 16,
        Partitions = [new PartitionGroup(0, 16, 1)],
        Owns = Assembler.Assemble("mov r0, 0\nexit"),
        Acl = Assembler.Assemble("mov r0, 1\nexit"),
    };
    home = disk.CreateRoot(key, disk.InstallTemplates(key, [template])[0], hint: default, contents: default);
    Commit();
    disk.PublishRoot(key, "home", home);
}
else
{
    home = disk.OpenRoot(key, "home").Block;
}

// Store: metadata changes by transactions, which XN checks. This one changes no pointer, so it claims nothing.
disk.TryGetFrame(key, home, out FrameNumber frame);
int boots = BinaryPrimitives.ReadInt32LittleEndian(frames.Bytes(frame)) + 1;
frames.Release(frame);

byte[] count = new byte[4];
BinaryPrimitives.WriteInt32LittleEndian(count, boots);
XnTransaction change = new();
change.Write(home, offsetBytes: 0, count);
XnStatus status = disk.Apply(key, change);
Commit();

// Print.
Console.WriteLine($"boot {boots}: home is block {home.Value}, {disk.FreeBlocks} of {disk.BlockCount} blocks are free, the change was {status}");
disk.Unmount();

// Durable is what has been written in an order that XN permits, and flushed.
void Commit()
{
    BlockNumber[] blocks = new BlockNumber[64];
    for (int ready; (ready = disk.PlanWriteBack(blocks)) > 0;)
    {
        disk.WriteBack(key, blocks.AsSpan(0, ready));
        disk.Flush();
    }
}
