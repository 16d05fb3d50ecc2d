// SPDX-License-Identifier: MIT
using ExOS;
using ExOS.Files;
using ExOS.Processes;

namespace Exo.Samples.Tests.Exos;

/// <summary>What a program may rely on: fork, exec, wait, signals, descriptors, pipes. A process that finds something else ends with an exception, which shows.</summary>
public sealed class ProcessTests
{
    private const int Heap = ProcessMemory.HeapAt;

    [Fact]
    public void A_child_has_a_copy_of_the_memory() => Check(async self =>
    {
        self.Memory.WriteText(Heap, "before");
        self.Variables["X"] = "1";
        Process child = self.Fork(static async child =>
        {
            Assert.Equal("before", child.Memory.ReadText(Heap));
            child.Memory.WriteText(Heap, "the child's");
            child.Variables["X"] = "2";
            await child.CheckpointAsync();
            return child.Memory.ReadText(Heap) == "the child's" ? 7 : 1;
        });
        self.Memory.WriteText(Heap + 4096, "the parent's");
        Assert.Equal((child.Id, new ExitStatus(7)), await self.WaitAsync());
        Assert.Equal("before", self.Memory.ReadText(Heap));
        Assert.Equal("1", self.Variables["X"]);
    });

    [Fact]
    public void A_fork_copies_no_page_that_nobody_writes() => Check(async self =>
    {
        byte[] megabyte = new byte[1 << 20];
        self.Memory.Write(Heap, megabyte);
        int before = self.System.Frames.FreeCount;
        Process child = self.Fork(static async child =>
        {
            await child.PauseAsync(TimeSpan.FromSeconds(100));
            return 0;
        });
        Assert.InRange(before - self.System.Frames.FreeCount, 0, 8);
        self.Memory.Write(Heap, megabyte);
        Assert.InRange(before - self.System.Frames.FreeCount, 256, 264);
        self.Kill(child.Id, Signal.Kill);
        Assert.Equal(Signal.Kill, (await self.WaitAsync())!.Value.Status.Signal);
    });

    [Fact]
    public void A_child_that_captures_objects_of_its_parent_is_refused() => Check(self =>
    {
        int captured = 1;
        Assert.Throws<ArgumentException>(() => self.Fork(_ => new ValueTask<int>(captured)));
        return default;
    });

    [Fact]
    public void Parent_and_child_share_the_offset_of_a_file() => Check(async self =>
    {
        int file = await self.Files.OpenAsync("/tmp/f", OpenFlags.Read | OpenFlags.Write | OpenFlags.Create);
        Assert.Equal(3, file);
        await self.Files.WriteAsync(file, "parent "u8.ToArray());
        _ = self.Fork(static async child =>
        {
            await child.Files.WriteAsync(3, "child "u8.ToArray());
            return 0;
        });
        _ = await self.WaitAsync();
        await self.Files.WriteAsync(file, "parent"u8.ToArray());
        _ = self.Descriptors[file].Seek(0, SeekOrigin.Begin);
        Assert.Equal("parent child parent", await ReadAsync(self, file));
    });

    [Fact]
    public void A_copy_of_a_tree_that_a_signal_ends_is_whole_or_not_there() => Check(async self =>
    {
        self.Files.MakeDirectory("/tmp/tree");
        for (int i = 0; i < 200; i++)
        {
            int file = await self.Files.OpenAsync($"/tmp/tree/{i}", OpenFlags.Write | OpenFlags.Create);
            await self.Files.WriteAsync(file, new byte[5000]);
            self.Files.Close(file);
        }

        for (int round = 0; round < 20; round++)
        {
            Process child = self.Fork(static async child =>
            {
                _ = await child.Files.CopyTreeAsync("/tmp/tree", "/tmp/copy");
                return 0;
            });
            for (int i = 0; i < round; i++)
            {
                await Task.Yield();
            }

            self.Kill(child.Id, Signal.Terminate);
            ExitStatus status = (await self.WaitAsync())!.Value.Status;
            if (self.Files.TryStat("/tmp/copy") is null)
            {
                Assert.Equal(Signal.Terminate, status.Signal);
            }
            else
            {
                Assert.Equal(200, self.Files.List("/tmp/copy").Count);
                foreach (string name in self.Files.List("/tmp/copy"))
                {
                    Assert.Equal(5000, self.Files.Stat("/tmp/copy/" + name).Size);
                    self.Files.Remove("/tmp/copy/" + name);
                }

                self.Files.Remove("/tmp/copy", isDirectory: true);
            }
        }
    });

    [Fact]
    public void A_signal_that_a_program_handles_interrupts_a_copy_of_a_tree_without_a_trace() => Check(async self =>
    {
        self.Files.MakeDirectory("/tmp/tree");
        self.Signals.Handle(Signal.Interrupt, () => { }, restarts: false);
        self.Signals.Send(Signal.Interrupt);
        try
        {
            _ = await self.Files.CopyTreeAsync("/tmp/tree", "/tmp/copy");
            Assert.True(self.Files.TryStat("/tmp/copy") is { IsDirectory: true });
        }
        catch (ExosException interrupted)
        {
            Assert.Equal(Errno.Interrupted, interrupted.Errno);
            Assert.Null(self.Files.TryStat("/tmp/copy"));
        }
    });

    [Fact]
    public void A_pipe_ends_when_the_last_writer_closes_it() => Check(async self =>
    {
        (int reader, int writer) = self.Files.MakePipe();
        Assert.Equal((3, 4), (reader, writer));
        _ = self.Fork(static async child =>
        {
            await child.Files.WriteAsync(4, "from the child"u8.ToArray());
            return 0;
        });
        self.Files.Close(writer);
        Assert.Equal("from the child", await ReadAsync(self, reader));
        _ = await self.WaitAsync();
    });

    [Fact]
    public void A_writer_waits_when_the_pipe_is_full_and_every_byte_arrives_in_order() => Check(async self =>
    {
        (int reader, int writer) = self.Files.MakePipe();
        _ = self.Fork(static async child =>
        {
            child.Files.Close(3);
            byte[] bytes = new byte[1_000_000];
            for (int i = 0; i < bytes.Length; i++)
            {
                bytes[i] = (byte)(i % 251);
            }

            await child.Files.WriteAsync(4, bytes);
            return 0;
        });
        self.Files.Close(writer);
        byte[] buffer = new byte[777];
        int total = 0;
        while (await self.Files.ReadAsync(reader, buffer) is int count and > 0)
        {
            for (int i = 0; i < count; i++)
            {
                Assert.Equal((byte)((total + i) % 251), buffer[i]);
            }

            total += count;
        }

        Assert.Equal(1_000_000, total);
        Assert.Equal(new ExitStatus(0), (await self.WaitAsync())!.Value.Status);
    });

    [Fact]
    public void Who_writes_to_a_pipe_without_readers_gets_SIGPIPE_or_EPIPE() => Check(async self =>
    {
        (int reader, int writer) = self.Files.MakePipe();
        self.Files.Close(reader);
        _ = self.Fork(static async child =>
        {
            await child.Files.WriteAsync(4, "x"u8.ToArray());
            return 0;
        });
        Assert.Equal(Signal.Pipe, (await self.WaitAsync())!.Value.Status.Signal);
        self.Signals.Ignore(Signal.Pipe);
        ExosException error = await Assert.ThrowsAsync<ExosException>(async () => await self.Files.WriteAsync(writer, "x"u8.ToArray()));
        Assert.Equal(Errno.BrokenPipe, error.Errno);
    });

    [Fact]
    public void A_writer_that_waits_is_told_when_the_reader_goes() => Check(async self =>
    {
        (int reader, int writer) = self.Files.MakePipe();
        _ = self.Fork(static async child =>
        {
            child.Files.Close(3);
            await child.Files.WriteAsync(4, new byte[1 << 20]);
            return 0;
        });
        self.Files.Close(writer);
        byte[] buffer = new byte[100];
        Assert.Equal(100, await self.Files.ReadAsync(reader, buffer));
        self.Files.Close(reader);
        Assert.Equal(Signal.Pipe, (await self.WaitAsync())!.Value.Status.Signal);
    });

    [Fact]
    public void A_handler_runs_and_the_call_goes_on_or_fails() => Check(async self =>
    {
        (int reader, int writer) = self.Files.MakePipe();
        int handled = 0;
        self.Signals.Handle(Signal.User1, () => handled++);
        self.Signals.Handle(Signal.User2, () => handled += 10, restarts: false);
        _ = self.Fork(static async child =>
        {
            child.Kill(child.Parent!.Id, Signal.User1);
            await child.Files.WriteAsync(4, "a"u8.ToArray());
            return 0;
        });
        byte[] buffer = new byte[1];
        Assert.Equal(1, await self.Files.ReadAsync(reader, buffer));
        _ = await self.WaitAsync();
        Assert.Equal(1, handled);
        _ = self.Fork(static async child =>
        {
            child.Kill(child.Parent!.Id, Signal.User2);
            await child.CheckpointAsync();
            return 0;
        });
        ExosException error = await Assert.ThrowsAsync<ExosException>(async () => await self.Files.ReadAsync(reader, buffer));
        Assert.Equal(Errno.Interrupted, error.Errno);
        Assert.Equal(11, handled);
        self.Files.Close(writer);
    });

    [Fact]
    public void A_parent_is_told_of_its_childs_end() => Check(async self =>
    {
        int told = 0;
        self.Signals.Handle(Signal.Child, () => told++);
        _ = self.Fork(static child => new ValueTask<int>(3));
        Assert.Equal(3, (await self.WaitAsync())!.Value.Status.Code);
        await self.CheckpointAsync();
        Assert.Equal(1, told);
        ExosException error = await Assert.ThrowsAsync<ExosException>(async () => await self.WaitAsync());
        Assert.Equal(Errno.NoChild, error.Errno);
    });

    [Fact]
    public void A_signal_ends_who_computes_when_he_comes_to_a_checkpoint() => Check(async self =>
    {
        Process child = self.Fork(static async child =>
        {
            while (true)
            {
                await child.CheckpointAsync();
            }
        });
        Assert.Null(await self.WaitAsync(block: false));
        self.Kill(child.Id, Signal.Terminate);
        Assert.Equal(128 + 15, (await self.WaitAsync())!.Value.Status.ShellStatus);
    });

    [Fact]
    public void Exec_keeps_descriptors_and_exported_variables_and_nothing_else() => Check(async self =>
    {
        (int reader, int _) = self.Files.MakePipe();
        _ = self.Fork(static async child =>
        {
            child.Descriptors.Duplicate(4, 1);
            child.Signals.Handle(Signal.Terminate, () => { });
            child.Variables["SEEN"] = "yes";
            child.Variables.Export("SEEN");
            child.Variables["UNSEEN"] = "no";
            return await child.ExecAsync("/bin/sh", ["sh", "-c", "echo $SEEN $UNSEEN; kill -TERM $$; echo still here"]);
        });
        self.Files.Close(4);
        Assert.Equal("yes\n", await ReadAsync(self, reader));
        Assert.Equal(Signal.Terminate, (await self.WaitAsync())!.Value.Status.Signal);
    });

    [Fact]
    public void What_a_process_had_is_given_back_when_it_ends() => Check(async self =>
    {
        await RoundAsync(self);
        int before = self.System.Frames.FreeCount;
        for (int i = 0; i < 50; i++)
        {
            await RoundAsync(self);
        }

        Assert.InRange(before - self.System.Frames.FreeCount, -32, 32);
        Assert.Equal(2, self.System.Processes.All.Length);

        static async ValueTask RoundAsync(Process self)
        {
            (int reader, int writer) = self.Files.MakePipe();
            self.Memory.Write(Heap, new byte[100_000]);
            _ = self.Fork(static async child =>
            {
                child.Memory.Write(Heap, new byte[100_000]);
                await child.Files.WriteAsync(4, "x"u8.ToArray());
                return 0;
            });
            self.Files.Close(writer);
            _ = await ReadAsync(self, reader);
            self.Files.Close(reader);
            _ = await self.WaitAsync();
        }
    });

    [Fact]
    public void An_orphan_belongs_to_init_and_is_reaped() => Check(async self =>
    {
        _ = self.Fork(static child =>
        {
            _ = child.Fork(static async grandchild =>
            {
                while (grandchild.Parent!.Id != 1)
                {
                    await grandchild.Schedule.Yield();
                }

                return 0;
            });
            return new ValueTask<int>(0);
        });
        _ = await self.WaitAsync();
        while (self.System.Processes.All.Length > 2)
        {
            await self.Schedule.Yield();
        }
    });

    private static void Check(Func<Process, ValueTask> test)
    {
        Exception? failure = null;
        int status = ExosBench.Run(async self =>
        {
            try
            {
                await test(self);
                return 0;
            }
            catch (Exception error) when (error is not ProcessExit)
            {
                failure = error;
                return 1;
            }
        });
        Assert.True(failure is null, failure?.ToString());
        Assert.Equal(0, status);
    }

    private static async ValueTask<string> ReadAsync(Process self, int descriptor)
    {
        using MemoryStream bytes = new();
        byte[] buffer = new byte[100];
        while (await self.Files.ReadAsync(descriptor, buffer) is int count and > 0)
        {
            bytes.Write(buffer, 0, count);
        }

        return System.Text.Encoding.UTF8.GetString(bytes.ToArray());
    }
}
