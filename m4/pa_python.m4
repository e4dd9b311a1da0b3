# SPDX-License-Identifier: MIT

# PA_PYTHON
# ---------
# Set PYTHON, the interpreter of the command pyarena, and pythondir, where its package is installed: a
# directory below the prefix in which that interpreter looks by itself, or else one of our own.
AC_DEFUN([PA_PYTHON], [
AC_PATH_PROG([PYTHON], [python3], [/usr/bin/env python3])
AC_ARG_WITH([python-dir],
	[AS_HELP_STRING([--with-python-dir=DIR],
		[install the Python package in DIR
		 @<:@the site directory of python3 below PREFIX, else DATADIR/pyarena/python@:>@])],
	[pythondir=$withval],
	[AC_MSG_CHECKING([for a site directory of python3 below the prefix])
	pa_prefix=$prefix
	AS_IF([test "$pa_prefix" = NONE], [pa_prefix=$ac_default_prefix])
	pythondir=`$PYTHON -c 'import os, site, sys
for directory in site.getsitepackages():
    if os.path.commonpath(@<:@directory, sys.argv@<:@1@:>@@:>@) == sys.argv@<:@1@:>@:
        print("$" + "{prefix}/" + os.path.relpath(directory, sys.argv@<:@1@:>@))
        break' "$pa_prefix" 2>/dev/null`
	AS_IF([test -n "$pythondir"],
		[AC_MSG_RESULT([$pythondir])],
		[pythondir='${datadir}/pyarena/python'
		AC_MSG_RESULT([none, so $pythondir])])])
AC_SUBST([pythondir])
])
