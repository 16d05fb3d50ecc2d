// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>Code downloaded to where packets come in: it gets its packets, everybody else the others, and nothing is left behind.</summary>
public sealed class PacketHandlerTests : IDisposable
{
    private const string ChildVariable = "EXO_TEST_HOLD_HANDLER";
    private const int Handled = 7777, Other = 22;

    private readonly TestNetwork _network = new();

    public PacketHandlerTests() => _network.Address();

    public void Dispose() => _network.Dispose();

    // Swallows UDP to one port: TCX_DROP, and 0 for the socket.
    private static PacketHandler Swallowing(int port)
    {
        return new PacketHandler(Write(otherwise: -1, then: 2), Write(otherwise: -1, then: 0));

        Program Write(int otherwise, int then)
        {
            LabelledCode code = new();
            int other = code.Label();
            code.AluRegister(Opcodes.Move, 6, 1);
            code.Alu(Opcodes.Move, 2, 36);
            code.AluRegister(Opcodes.Move, 3, 10);
            code.Alu(Opcodes.Add, 3, -8);
            code.Alu(Opcodes.Move, 4, 2);
            code.Call(26);
            code.JumpIf(Opcodes.JumpNotEqual, 0, 0, 1, other);
            code.LoadBigEndian(1, 10, -8, 2);
            code.JumpIf(Opcodes.JumpNotEqual, 1, (ulong)port, 2, other);
            code.Alu(Opcodes.Move, 0, then);
            code.Exit();
            code.Bind(other);
            code.Alu(Opcodes.Move, 0, otherwise);
            code.Exit();
            return code.ToProgram()!;
        }
    }

    [Fact]
    public void A_handler_gets_its_packets_and_the_kernel_and_the_device_get_the_others()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
        using PacketSocketDevice device = _network.InA(() => PacketSocketDevice.Open(TestNetwork.LinkA, frames, new PacketSocketOptions { TakesHandlers = true }));
        using ReceiveBatch batch = new(frames);
        using Socket sender = _network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0)), other = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Other)), handled = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Handled));
        Assert.True(device.TakesHandlers);
        Assert.True(Hears(sender, other, "before") && Hears(sender, handled, "before"));
        device.SetHandler(Swallowing(Handled));
        sender.SendTo("swallowed"u8, handled.LocalEndPoint!);
        Assert.True(Hears(sender, other, "with it"));   // one interface, one order: what was sent before has been through
        Assert.Equal(0, handled.Available);
        device.SetHandler(null);
        Assert.True(Hears(sender, handled, "behind it"));

        List<string> seen = [];
        while (device.Receive(batch) > 0)
        {
            for (int i = 0; i < batch.Count; i++)
            {
                seen.Add(System.Text.Encoding.ASCII.GetString(batch.Head(i)));
            }
        }

        Assert.Contains(seen, packet => packet.Contains("before", StringComparison.Ordinal));
        Assert.Contains(seen, packet => packet.Contains("with it", StringComparison.Ordinal));
        Assert.Contains(seen, packet => packet.Contains("behind it", StringComparison.Ordinal));
        Assert.DoesNotContain(seen, packet => packet.Contains("swallowed", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Killed_the_process_leaves_the_interface_as_it_was()
    {
        using Process child = Process.Start(new ProcessStartInfo(Environment.ProcessPath!)
        {
            Environment = { [ChildVariable] = _network.NamespaceA }, RedirectStandardOutput = true,
        })!;
        try
        {
            Assert.Equal("ready", await child.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(60)));
            using Socket sender = _network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0)), other = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Other)), handled = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Handled));
            sender.SendTo("swallowed"u8, handled.LocalEndPoint!);
            Assert.True(Hears(sender, other, "hello"));
            Assert.Equal(0, handled.Available);
            child.Kill();
            await child.WaitForExitAsync();
            Assert.True(Hears(sender, handled, "hello"));
        }
        finally
        {
            child.Kill();
        }
    }

    [Fact]
    public void Without_a_place_for_it_and_code_that_the_kernel_cannot_prove_are_refused_in_words()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
        using (PacketSocketDevice plain = _network.InA(() => PacketSocketDevice.Open(TestNetwork.LinkA, frames)))
        {
            Assert.False(plain.TakesHandlers);
            Assert.Contains(TestNetwork.LinkA, Assert.Throws<NotSupportedException>(() => plain.SetHandler(null)).Message);
        }

        using PacketSocketDevice device = _network.InA(() => PacketSocketDevice.Open(TestNetwork.LinkA, frames, new PacketSocketOptions { TakesHandlers = true }));
        PacketHandler good = Swallowing(Handled);
        Program wild = new([new Instruction(Opcodes.ClassLoadRegister | Opcodes.ModeMemory, 0, 9), new Instruction(Opcodes.ClassJump | Opcodes.Exit)]);
        Assert.Contains("load a handler", Assert.Throws<NetworkDeviceException>(() => device.SetHandler(good with { Ingress = wild })).Message);
        Assert.Contains("load a handler", Assert.Throws<NetworkDeviceException>(() => device.SetHandler(good with { Receive = wild })).Message);
        using Socket sender = _network.InB(() => TestNetwork.Udp(TestNetwork.AddressB, 0)), handled = _network.InA(() => TestNetwork.Udp(TestNetwork.AddressA, Handled));
        Assert.True(Hears(sender, handled, "still"));
    }

    // What the test for SIGKILL runs as a process of its own: before any test, and without coming back.
    [ModuleInitializer]
    internal static void Hold()
    {
        if (Environment.GetEnvironmentVariable(ChildVariable) is not { Length: > 0 } space)
        {
            return;
        }

        // On this thread: another would wait for the end of this initializer.
        NetworkNamespace.Enter(space);
        FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
        PacketSocketDevice device = PacketSocketDevice.Open(TestNetwork.LinkA, frames, new PacketSocketOptions { TakesHandlers = true });
        device.SetHandler(Swallowing(Handled));
        Console.WriteLine("ready");
        Thread.Sleep(Timeout.Infinite);
        GC.KeepAlive(device);
    }

    // Sent until it is heard: the kernel loses packets when other tests flood it.
    private static bool Hears(Socket sender, Socket receiver, string text)
    {
        byte[] buffer = new byte[64];
        for (int attempt = 0; attempt < 20; attempt++)
        {
            sender.SendTo(System.Text.Encoding.ASCII.GetBytes(text), receiver.LocalEndPoint!);
            if (receiver.Poll(TimeSpan.FromSeconds(1), SelectMode.SelectRead))
            {
                bool isIt = System.Text.Encoding.ASCII.GetString(buffer, 0, receiver.Receive(buffer)) == text;
                while (receiver.Available > 0)
                {
                    receiver.Receive(buffer);
                }

                return isIt;
            }
        }

        return false;
    }
}
