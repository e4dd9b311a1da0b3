# SPDX-License-Identifier: MIT

# PA_APPEND_FLAGS([VARIABLE], [FLAGS]): append each of FLAGS that the compiler takes without a
# warning to VARIABLE.
AC_DEFUN([PA_APPEND_FLAGS], [
	for pa_flag in $2
	do
		AC_MSG_CHECKING([whether $CC takes $pa_flag])
		pa_saved_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS $pa_flag -Werror"
		AC_COMPILE_IFELSE([AC_LANG_SOURCE([[int pa_probe(void); int pa_probe(void) { return 0; }]])],
			[$1="$$1 $pa_flag"; AC_MSG_RESULT([yes])],
			[AC_MSG_RESULT([no])])
		CFLAGS=$pa_saved_CFLAGS
	done
])

# PA_APPEND_LINK_FLAGS([VARIABLE], [FLAGS]): the same for flags of the linker.
AC_DEFUN([PA_APPEND_LINK_FLAGS], [
	for pa_flag in $2
	do
		AC_MSG_CHECKING([whether the linker takes $pa_flag])
		pa_saved_LDFLAGS=$LDFLAGS
		LDFLAGS="$LDFLAGS $pa_flag"
		AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
			[$1="$$1 $pa_flag"; AC_MSG_RESULT([yes])],
			[AC_MSG_RESULT([no])])
		LDFLAGS=$pa_saved_LDFLAGS
	done
])
