// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Programs that know nothing of the mount.</summary>
public sealed class ProgramTests
{
    // A tree with what trees have: many small files, a large one, links of both kinds, odd names and modes.
    private const string MakeTree = """
        mkdir -p tree/deep/er "tree/a name with spaces"
        for i in $(seq 200); do echo "contents of $i" > tree/deep/f$i; done
        dd if=/dev/urandom of=tree/large bs=1M count=5 2>/dev/null
        ln tree/deep/f1 tree/deep/er/hard
        ln -s ../large tree/deep/soft
        chmod 640 tree/deep/f2
        truncate -s 3M tree/sparse
        mkfifo tree/pipe
        touch -d '1999-12-31 23:59:59.123456789' tree/deep/f3

        """;

    // What a copy must have: kinds, modes, owners, times to the nanosecond, links of both kinds, contents, extended attributes.
    private const string Manifest = """
        manifest() { (
          cd "$1"
          find . -printf '%P %y %m %U:%G %T@ %l' \( -type d -printf '\n' -o -printf ' %n %s\n' \) | LC_ALL=C sort
          find . -type f -exec cksum {} + | LC_ALL=C sort -k3
          find . ! -type d -links +1 -printf '%i %P\n' | LC_ALL=C sort -k2 | awk '{ i = $1; $1 = ""; names[i] = names[i] $0 ";" } END { for (i in names) print names[i] }' | LC_ALL=C sort
          find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m '^user'
        ) }
        extras() {
          ln tree/deep/soft tree/deep/er/soft-too; chown -h 12:34 tree/deep/f5 tree/deep/soft; chown 56:78 tree/deep; chmod 4755 tree/deep/f4; chmod 2710 tree/deep/f6; chmod 1777 tree/deep/er
          touch -h -d '2001-02-03 04:05:06.000000007' tree/deep/soft; touch -d '1970-01-01 00:00:00.5 UTC' "tree/a name with spaces"
          printf 'all bytes \n\377' > "tree/$(printf 'odd\tname\\ \303\244 \377')"; mknod tree/device c 7 300
          setfattr -n user.colour -v blue tree/deep/f1; setfattr -n user.empty tree/deep/er; setfattr -n user.long -v "$(seq 500)" tree/large
        }

        # Times of long ago, each another: rsync leaves alone what is less than a second from what it should be.
        age() { find "$1" -depth -exec sh -c 'n=1000000000; for each; do n=$((n + 1)); touch -h -d "@$n.$n" "$each"; done' sh {} +; }

        """;

    /// <summary>The mount's modes that differ in who keeps what a program has written, and in how the kernel's messages come.</summary>
    public static TheoryData<string> Modes => ["noio_uring", "noio_uring,writeback", "io_uring,writeback"];

    [Theory]
    [MemberData(nameof(Modes))]
    public void Tar_carries_a_tree_from_the_host_and_back(string mode)
    {
        Requires.Root();
        Requires.Program("tar");
        Requires.Program("setfattr");
        using Mounted at = new(new FuseMountOptions().With(mode));
        at.Shell(Manifest + """
            tar="tar --xattrs --xattrs-include=user.* --numeric-owner"
            cd "$HOME"

            """ + MakeTree + """
            extras; cd "$1"
            manifest "$HOME/tree" > "$HOME/wanted"; test $(wc -l < "$HOME/wanted") -gt 400
            $tar -cf - -C "$HOME" tree | $tar -xpf - ; manifest tree | diff "$HOME/wanted" -
            $tar -cf a.tar tree; mkdir back; $tar -xpf a.tar -C back; manifest back/tree | diff "$HOME/wanted" -
            mkdir "$HOME/back"; $tar -cf - tree | $tar -xpf - -C "$HOME/back"; manifest "$HOME/back/tree" | diff "$HOME/wanted" -
            rm -r tree; du -s back >/dev/null
            """);
        at.Remount(new FuseMountOptions().With(mode));
        at.Shell(Manifest + "manifest back/tree | diff $HOME/wanted -");
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void Git_clones_and_finds_nothing_broken(string mode)
    {
        Requires.Program("git");
        using Mounted at = new(new FuseMountOptions().With(mode));
        string status = at.Shell(MakeTree + """
            rm tree/pipe; cd tree; git init -q; git add .; git -c user.name=t -c user.email=t@localhost commit -qm first
            cd ..; git clone -q tree linked; test "$(find linked/.git/objects -type f -links 2 | wc -l)" -gt 200
            git clone -q --no-hardlinks tree clone; git clone -q "file://$PWD/tree" over
            for at in tree linked clone over; do git -C $at fsck --full --strict; git -C $at status --porcelain; diff -r -x .git -x 'a name*' tree $at; done
            rm -r tree; git -C linked fsck --full --strict; git -C linked gc -q; git -C linked fsck --full --strict; git -C linked status --porcelain
            """);
        Assert.Equal("", status);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void A_program_of_a_hundred_files_is_built(string mode)
    {
        Requires.Program("make");
        Requires.Program("gcc");
        using Mounted at = new(new FuseMountOptions().With(mode));
        string sum = at.Shell("""
            for i in $(seq 100); do echo "int f$i(void) { return $i; }" > f$i.c; done
            (for i in $(seq 100); do echo "int f$i(void);"; done; echo '#include <stdio.h>'; echo 'int main(void) { int s = 0;'
             for i in $(seq 100); do echo "s += f$i();"; done; echo 'printf("%d", s); puts(""); return 0; }') > main.c
            printf 'prog: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\t@gcc -o $@ $^\n%%.o: %%.c\n\t@gcc -c -o $@ $<\n' > Makefile
            make -s -j2; ./prog
            """);
        Assert.Equal("5050\n", sum);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void Sqlite_keeps_its_databases_whole(string mode)
    {
        Requires.Program("sqlite3");
        using Mounted at = new(new FuseMountOptions().With(mode), limit: TimeSpan.FromMinutes(4));   // a reader asks again every 100 ms for a lock that a busy writer lets go for moments
        string said = at.Shell("""
            writer=; trap '[ -z "$writer" ] || kill -9 $writer 2>/dev/null || true' EXIT
            for mode in delete wal; do
              sqlite3 $mode.db "pragma journal_mode=$mode; create table t(i integer primary key, b blob);" >/dev/null
              for round in 1 2 3; do
                (while :; do echo "insert into t(b) values (randomblob(3000));"; done) | sqlite3 $mode.db & writer=$!
                n=0; while [ "$n" -lt $((round * 20)) ]; do n=$(sqlite3 -cmd '.timeout 60000' $mode.db 'select count(*) from t'); done
                kill -9 $writer; wait $writer 2>/dev/null || true
                sqlite3 -cmd '.timeout 60000' $mode.db 'pragma integrity_check'
              done
            done
            """);
        Assert.Equal(string.Concat(Enumerable.Repeat("ok\n", 6)), said);
    }

    /// <summary>With everything that rsync and cp can carry: ACLs are the one thing that the mount refuses, and the tree has none.</summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public void Rsync_and_cp_copy_everything(string mode)
    {
        Requires.Root();
        Requires.Program("rsync");
        Requires.Program("setfattr");
        using Mounted at = new(new FuseMountOptions().With(mode));
        string differences = at.Shell(Manifest + MakeTree + """
            extras; age tree; manifest tree > "$HOME/wanted"
            rsync -aHAX --devices --specials tree/ copy/; rsync -aHAXn --itemize-changes --checksum tree/ copy/; manifest copy | diff "$HOME/wanted" -
            for how in auto never; do cp -a --reflink=$how tree second; manifest second | diff "$HOME/wanted" -; rm -r second; done
            rsync -aHAX tree/ "$HOME/out/"; rsync -aHAXn --itemize-changes --checksum "$HOME/out/" tree/; manifest "$HOME/out" | diff "$HOME/wanted" -
            cp -a "$HOME/out" in; manifest in | diff "$HOME/wanted" -
            rsync -aHAX --inplace --no-whole-file --checksum "$HOME/out/" in/; manifest in | diff "$HOME/wanted" -
            """);
        Assert.Equal("", differences);
    }

    /// <summary>
    /// The mount as the upper layer of overlayfs, as container engines stack their images: what is changed above hides what is below, and stays so for the next who stacks them.
    /// </summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public void Overlayfs_keeps_its_upper_layer_here(string mode)
    {
        Requires.Root();
        using Mounted at = new(new FuseMountOptions().With(mode));
        string said = at.Shell("""
            mkdir -p "$HOME/lower/d/deep" "$HOME/merged" upper work
            for n in kept changed removed moved linked; do echo $n >"$HOME/lower/$n"; echo $n >"$HOME/lower/d/$n"; done; ln "$HOME/lower/linked" "$HOME/lower/linked2"
            stack() { mount -t overlay overlay -o "lowerdir=$HOME/lower,upperdir=$PWD/upper,workdir=$PWD/work,redirect_dir=on,index=off,metacopy=off" "$HOME/merged"; }
            trap 'umount "$HOME/merged" 2>/dev/null || true' EXIT
            stack; here=$PWD; cd "$HOME/merged"
            echo new >changed; echo more >>d/changed; rm removed d/removed; mv moved d/came; mv d/moved came; mv d/deep deep; mkdir d/deep; echo x >d/deep/x
            rm -r d/deep; mv d e; mkdir d; echo fresh >d/fresh; ln kept kept2; chmod 600 linked; setfattr -n user.k -v v kept
            git init -q repo; cd repo; git config user.email a@b; git config user.name n; for i in 1 2 3; do echo $i >f; git add f; git commit -qm $i; done; git mv f g; git commit -qm moved; git fsck --strict 2>&1; cd ..
            list() { find . -path ./repo -prune -o -printf '%P %y %m %n %l\n' | LC_ALL=C sort; cat changed e/changed e/came came d/fresh; getfattr --only-values -n user.k kept; }
            list >"$HOME/before"; cd "$here"; umount "$HOME/merged"; stack; cd "$HOME/merged"; list | diff "$HOME/before" -; git -C repo fsck --strict 2>&1; git -C repo status --porcelain
            for gone in removed moved e/removed e/moved d/kept; do [ ! -e $gone ] || echo "$gone is back"; done; cat e/came e/kept; ls d
            cd "$here"; umount "$HOME/merged"
            """);
        Assert.Equal("moved\nkept\nfresh\n", said);
    }

    /// <summary>Where 32 bits of a length or an offset end.</summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public void Files_go_beyond_four_gibibytes(string mode)
    {
        const long Edge = 1L << 32;
        const int SeekData = 3;
        const int SeekHole = 4;
        using Mounted at = new(new FuseMountOptions().With(mode));
        int file = Posix.Open(at["f"], 0x42);
        byte[] bytes = new byte[12_288];
        new Random(1).NextBytes(bytes);
        Assert.Equal(bytes.Length, Posix.Write(file, bytes, Edge - 4096));
        Assert.Equal(0, Posix.Fsync(file));
        Assert.Equal(Edge + 8192, Posix.Stat(at["f"]).Size);
        Assert.Equal(bytes, Posix.Read(file, Edge - 4096, 20_000));
        Assert.Equal(new byte[5000], Posix.Read(file, Edge - 9096, 5000));
        Assert.Equal(Edge - 4096, Posix.Seek(file, 0, SeekData));
        Assert.Equal(0, Posix.Seek(file, 0, SeekHole));
        Assert.Equal(Edge + 8192, Posix.Seek(file, Edge - 4096, SeekHole));
        foreach (long length in (long[])[Edge + 1, Edge, Edge - 1])
        {
            Assert.Equal(0, Posix.Truncate(at["f"], length));
            Assert.Equal(length, Posix.Stat(at["f"]).Size);
            Assert.Equal(bytes[..(int)(length - (Edge - 4096))], Posix.Read(file, Edge - 4096, 20_000));
        }

        Assert.Equal(0, Posix.Truncate(at["f"], Edge + 5000));
        Assert.Equal([.. bytes[..4095], .. new byte[5001]], Posix.Read(file, Edge - 4096, 20_000));
        Assert.Equal(1, Posix.Write(file, [9], Edge + (1L << 40)));
        Assert.Equal(0, Posix.Fallocate(file, 3, Edge - 4096, 4096));
        Assert.Equal(Edge + (1L << 40), Posix.Seek(file, Edge + 8192, SeekData));
        Assert.Equal(0, Posix.Close(file));
        at.Remount(new FuseMountOptions().With(mode));
        file = Posix.Open(at["f"], 0);
        Assert.Equal(Edge + (1L << 40) + 1, Posix.Stat(at["f"]).Size);
        Assert.Equal([9], Posix.Read(file, Edge + (1L << 40), 10));
        Assert.Equal(new byte[9096], Posix.Read(file, Edge - 4096, 9096));
        Assert.Equal(0, Posix.Close(file));
        at.Shell("cp --sparse=always --reflink=never f g; test $(stat -c %s f) = $(stat -c %s g); test $(du -k g | cut -f1) -lt 100; cp f h; rm f; test $(tail -c 1 h | od -An -tu1) = 9");
    }

    [Fact]
    public void Find_and_du_see_what_they_see_elsewhere()
    {
        using Mounted at = new();
        at.Shell(MakeTree + """
            mkdir "$HOME/elsewhere"; cp -a tree "$HOME/elsewhere/"
            list() { find tree -printf '%p %y %m %n %s %U %G %T@ %l\n' | sed 's/\( d [0-9]* [0-9]*\) [0-9]*/\1/' | LC_ALL=C sort; }
            list > here; (cd "$HOME/elsewhere"; list) > there; diff here there
            find tree -newer tree/deep/f3 -size +1k -name 'l*' | grep -qx tree/large
            test "$(du -s --apparent-size --exclude=er tree/deep | cut -f1)" -gt 0
            test "$(du -sk tree/large | cut -f1)" = 5120; test "$(du -sk tree/sparse | cut -f1)" -lt 64; test "$(du -b tree/sparse | cut -f1)" = 3145728
            find tree -depth -delete; test ! -e tree
            """);
    }

    [Fact]
    public void Copies_of_files_that_are_still_open_are_whole()
    {
        // cp asks for the holes of a file that seems to have some; what the kernel has not written back yet must not be taken for one.
        using Mounted at = new();
        Assert.Equal("", at.Shell("""
            exec 3>grown; truncate -s 8M grown; head -c 300000 /dev/urandom | tee there >&3
            for how in auto always never; do cp --sparse=$how grown copy; head -c 300000 copy | cmp - there; cmp copy grown; done
            exec 3>&-
            """));
    }

    [Fact]
    public void A_dotnet_project_is_built_and_run()
    {
        Requires.Program("dotnet");
        using Mounted at = new(sizeBytes: 512 << 20, limit: TimeSpan.FromMinutes(4));
        string said = at.Shell("""
            mkdir app; cd app
            printf '<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework><UseAppHost>false</UseAppHost><NuGetAudit>false</NuGetAudit></PropertyGroup></Project>' > app.csproj
            printf '<Project/>' > Directory.Build.props; cp Directory.Build.props Directory.Build.targets; cp Directory.Build.props Directory.Packages.props
            echo 'System.Console.WriteLine("built on C-FFS");' > Program.cs
            export DOTNET_CLI_HOME="$HOME" DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 MSBUILDDISABLENODEREUSE=1
            dotnet build -v q -nodereuse:false -p:UseSharedCompilation=false >build.log 2>&1 || { cat build.log; exit 1; }
            dotnet exec bin/Debug/net10.0/app.dll
            """);
        Assert.Equal("built on C-FFS\n", said);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void Random_writes_read_back_through_the_cache_and_through_maps(string mode)
    {
        Requires.Program("fio");
        using Mounted at = new(new FuseMountOptions().With(mode));
        at.Shell("""
            fio --name=w --rw=randwrite --size=8m --bs=4k --verify=crc32c --ioengine=psync --filename=w.dat --minimal >/dev/null
            fio --name=m --rw=randrw --size=8m --bs=4k --verify=crc32c --ioengine=mmap --filename=m.dat --minimal >/dev/null
            """);
        Assert.Equal(8 << 20, Posix.Stat(at["w.dat"]).Size);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void A_large_directory_is_listed_once_each_while_it_shrinks(string mode)
    {
        using Mounted at = new(new FuseMountOptions().With(mode));
        Assert.Equal("3000\n0\n", at.Shell("mkdir l; cd l; seq 3000 | xargs touch; ls | wc -l; rm -r ../l/*; ls | wc -l"));
    }
}
