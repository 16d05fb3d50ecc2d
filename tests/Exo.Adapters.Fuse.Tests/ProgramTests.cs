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

    [Fact]
    public void Tar_copies_a_tree_both_ways()
    {
        Requires.Program("tar");
        using Mounted at = new();
        at.Shell(MakeTree + """
            tar cf a.tar tree
            mkdir back && tar xf a.tar -C back
            tar cf b.tar -C back tree
            cmp a.tar b.tar
            diff -r --no-dereference -x pipe tree back/tree
            find tree | wc -l; du -s tree >/dev/null
            """);
    }

    [Fact]
    public void Git_clones_and_finds_nothing_broken()
    {
        Requires.Program("git");
        using Mounted at = new();
        string status = at.Shell(MakeTree + """
            rm tree/pipe; cd tree; git init -q; git add .; git -c user.name=t -c user.email=t@localhost commit -qm first
            cd ..; git clone -q --no-hardlinks tree clone; cd clone; git fsck --full --strict; git status --porcelain
            """);
        Assert.Equal("", status);
    }

    [Fact]
    public void A_program_of_a_hundred_files_is_built()
    {
        Requires.Program("make");
        Requires.Program("gcc");
        using Mounted at = new();
        string sum = at.Shell("""
            for i in $(seq 100); do echo "int f$i(void) { return $i; }" > f$i.c; done
            (for i in $(seq 100); do echo "int f$i(void);"; done; echo '#include <stdio.h>'; echo 'int main(void) { int s = 0;'
             for i in $(seq 100); do echo "s += f$i();"; done; echo 'printf("%d", s); puts(""); return 0; }') > main.c
            printf 'prog: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\t@gcc -o $@ $^\n%%.o: %%.c\n\t@gcc -c -o $@ $<\n' > Makefile
            make -s -j2; ./prog
            """);
        Assert.Equal("5050\n", sum);
    }

    [Fact]
    public void Sqlite_keeps_its_databases_whole()
    {
        Requires.Program("sqlite3");
        using Mounted at = new();
        string said = at.Shell("""
            for mode in delete wal; do
              sqlite3 $mode.db "pragma journal_mode=$mode; create table t(i integer primary key, b blob);" >/dev/null
              for round in 1 2 3; do
                (while :; do echo "insert into t(b) values (randomblob(3000));"; done) | sqlite3 $mode.db & writer=$!
                n=0; while [ "$n" -lt $((round * 20)) ]; do n=$(sqlite3 -cmd '.timeout 5000' $mode.db 'select count(*) from t'); done
                kill -9 $writer; wait $writer 2>/dev/null || true
                sqlite3 -cmd '.timeout 5000' $mode.db 'pragma integrity_check'
              done
            done
            """);
        Assert.Equal(string.Concat(Enumerable.Repeat("ok\n", 6)), said);
    }

    [Fact]
    public void Rsync_and_cp_copy_everything_they_can_name()
    {
        Requires.Program("rsync");
        using Mounted at = new();
        string differences = at.Shell(MakeTree + """
            rsync -aH tree/ copy/
            rsync -aHn --itemize-changes --checksum tree/ copy/
            cp -a --reflink=auto tree second
            diff -r --no-dereference -x pipe tree second
            """);
        Assert.Equal("", differences);
    }

    [Fact]
    public void Rsync_keeps_hard_links_and_whatever_attributes_there_are()
    {
        // With extended attributes where the mount has them: -X and -A otherwise end with an error.
        Requires.Program("rsync");
        Requires.Program("setfattr");
        using Mounted at = new();
        string differences = at.Shell(MakeTree + """
            chmod 4755 tree/deep/f4; chmod 1777 tree/deep
            how=-aH; if setfattr -n user.colour -v blue tree/deep/f1 2>/dev/null; then how=-aHAX; fi
            rsync $how tree/ copy/
            rsync ${how}n --itemize-changes --checksum tree/ copy/
            test "$(stat -c %i copy/deep/f1)" = "$(stat -c %i copy/deep/er/hard)"
            if [ $how = -aHAX ]; then test "$(getfattr --only-values -n user.colour copy/deep/er/hard)" = blue; fi
            mkdir "$HOME/out"; rsync -aH tree/ "$HOME/out/"; rsync -aHn --itemize-changes --checksum "$HOME/out/" tree/
            """);
        Assert.Equal("", differences);
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

    [Fact]
    public void Random_writes_read_back_through_the_cache_and_through_maps()
    {
        Requires.Program("fio");
        using Mounted at = new();
        at.Shell("""
            fio --name=w --rw=randwrite --size=8m --bs=4k --verify=crc32c --ioengine=psync --filename=w.dat --minimal >/dev/null
            fio --name=m --rw=randrw --size=8m --bs=4k --verify=crc32c --ioengine=mmap --filename=m.dat --minimal >/dev/null
            """);
        Assert.Equal(8 << 20, Posix.Stat(at["w.dat"]).Size);
    }

    [Fact]
    public void A_large_directory_is_listed_once_each_while_it_shrinks()
    {
        using Mounted at = new();
        Assert.Equal("3000\n0\n", at.Shell("mkdir l; cd l; seq 3000 | xargs touch; ls | wc -l; rm -r ../l/*; ls | wc -l"));
    }
}
