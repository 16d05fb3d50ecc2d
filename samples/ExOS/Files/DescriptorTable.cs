// SPDX-License-Identifier: MIT
using Exo.Core.Environments;

namespace ExOS.Files;

/// <summary>A process's descriptors: small numbers for open files. Used by its process alone, but for <c>/proc</c>.</summary>
internal sealed class DescriptorTable
{
    private const int DescriptorsMax = 256;
    private readonly Lock _lock = new();
    private readonly SortedDictionary<int, (OpenFile File, bool ClosesOnExec)> _files = [];

    public OpenFile this[int descriptor]
    {
        get
        {
            lock (_lock)
            {
                return _files.TryGetValue(descriptor, out (OpenFile File, bool) entry) ? entry.File : throw new ExosException(Errno.BadDescriptor);
            }
        }
    }

    /// <summary>Gives a file the lowest free number.</summary>
    public int Add(OpenFile file, bool closesOnExec = false)
    {
        lock (_lock)
        {
            int descriptor = 0;
            while (_files.ContainsKey(descriptor))
            {
                descriptor++;
            }

            if (descriptor == DescriptorsMax)
            {
                file.LetGo();
                throw new ExosException(Errno.TryAgain, "too many open files");
            }

            _files.Add(descriptor, (file, closesOnExec));
            return descriptor;
        }
    }

    /// <summary>Makes <paramref name="to"/> refer to what <paramref name="from"/> refers to; what it referred to before is closed.</summary>
    public void Duplicate(int from, int to)
    {
        OpenFile file = this[from];
        if (from == to)
        {
            return;
        }

        file.Hold();
        Replace(to, file);
    }

    /// <summary>Puts a file at a number.</summary>
    public void Replace(int descriptor, OpenFile file)
    {
        OpenFile? old;
        lock (_lock)
        {
            old = _files.TryGetValue(descriptor, out (OpenFile File, bool) entry) ? entry.File : null;
            _files[descriptor] = (file, false);
        }

        old?.LetGo();
    }

    public void Close(int descriptor)
    {
        OpenFile file = this[descriptor];
        lock (_lock)
        {
            _ = _files.Remove(descriptor);
        }

        file.LetGo();
    }

    public bool IsOpen(int descriptor)
    {
        lock (_lock)
        {
            return _files.ContainsKey(descriptor);
        }
    }

    public List<(int Descriptor, OpenFile File)> All()
    {
        lock (_lock)
        {
            return [.. _files.Select(pair => (pair.Key, pair.Value.File))];
        }
    }

    /// <summary>Descriptors that referred to one file do so in the child.</summary>
    public DescriptorTable ForFork(ExoEnvironment child)
    {
        DescriptorTable copy = new();
        Dictionary<OpenFile, OpenFile> files = [];
        lock (_lock)
        {
            foreach ((int descriptor, (OpenFile file, bool closesOnExec)) in _files)
            {
                if (files.TryGetValue(file, out OpenFile? known))
                {
                    known.Hold();
                }
                else
                {
                    files.Add(file, known = file.ForFork(child));
                }

                copy._files.Add(descriptor, (known, closesOnExec));
            }
        }

        return copy;
    }

    public void CloseOnExec() => CloseWhere(closesOnExec => closesOnExec);

    public void CloseAll() => CloseWhere(_ => true);

    private void CloseWhere(Func<bool, bool> goes)
    {
        List<(int Descriptor, OpenFile File)> gone = [];
        lock (_lock)
        {
            foreach ((int descriptor, (OpenFile file, bool closesOnExec)) in _files)
            {
                if (goes(closesOnExec))
                {
                    gone.Add((descriptor, file));
                }
            }

            gone.ForEach(entry => _files.Remove(entry.Descriptor));
        }

        gone.ForEach(entry => entry.File.LetGo());
    }
}
